"""What is known of a column beside its type, kept in the metadata of its Spark field.

Names that differ only in case cannot stand in one DataFrame of Spark's: all but one of them get another name inside,
and keep the user's in their metadata.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql.types import StructField

NAME = "remedi.name"
"""The user's name, where it is not the column's."""
INDEX = "remedi.index"
"""True for a column that pandas wrote for the index of a frame."""
DECIMAL = "remedi.decimal"
"""``,`` where numbers of a CSV are written with a decimal comma."""
ZEROS = "remedi.zeros"
"""Whether a text column of a CSV holds numbers with leading zeros, or too long for a float: pandas would lose them."""
MISSING = "remedi.missing"
"""The only mark for a missing value in a text column of a CSV, which pandas reads as null."""

_UNNAMED_INDEX = re.compile(r"^__index_level_\d+__$|^Unnamed: 0$")


def shown(field: StructField) -> str:
    """Return the user's name of a column."""
    return str(field.metadata.get(NAME, field.name))


def is_index(field: StructField) -> bool:
    """Whether a column is what is left of the index of a pandas frame."""
    return bool(field.metadata.get(INDEX)) or _UNNAMED_INDEX.match(field.name) is not None


def unique_names(names: Sequence[str], keep: Collection[str] = ()) -> list[str]:
    """Return names that also differ when case is ignored; those in ``keep`` stay, else the first of its kind.

    >>> unique_names(["id", "ID", "x"], keep=["ID"])
    ['id (2)', 'ID', 'x']
    """
    taken = {name.lower() for name in names if name in keep}
    found = []
    for name in names:
        inner, number = name, 1
        while name not in keep and inner.lower() in taken:
            number += 1
            inner = f"{name} ({number})"
        taken.add(inner.lower())
        found.append(inner)
    return found


def notes(name: str, inner: str, **more: Any) -> dict[str, Any]:
    """Return the metadata of a column: its user's name where it has another one inside, and what else is true."""
    named = {NAME: name} if name != inner else {}
    return named | {key: value for key, value in more.items() if value}
