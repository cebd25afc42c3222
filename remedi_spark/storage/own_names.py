"""Column names that Delta refuses: stored under names of our own, read back under the user's.

Delta takes no spaces, commas, semicolons, braces, brackets, line breaks, tabs or ``=`` in a name. A column that has
them is stored under a cleaned name, and its own name is kept in the metadata of the column, which every copy of the
rows keeps too.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from remedi_spark.spark.names import quoted

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

OWN_NAME = "remedi.name"
"""Key of a column's metadata that holds the user's name."""
_REFUSED = re.compile(r"[ ,;{}()\n\t=\r\x00-\x1f]+")


def stored_names(names: Sequence[str]) -> dict[str, str]:
    """Return under which name each column is stored: its own where Delta takes it, else a cleaned, unlike one."""
    taken = {name.casefold() for name in names}
    stored: dict[str, str] = {}
    for name in names:
        if not _REFUSED.search(name):
            stored[name] = name
            continue
        plain = _REFUSED.sub("_", name).strip("_") or "column"
        if plain.casefold() in taken:
            plain = f"{plain}_{zlib.crc32(name.encode()):08x}"
        taken.add(plain.casefold())
        stored[name] = plain
    return stored


def as_stored(frame: DataFrame) -> DataFrame:
    """Return the frame under the names that it can be stored by; :func:`own_names` is the way back."""
    return frame.select(
        *(
            F.col(quoted(name))
            if name == stored
            else F.col(quoted(name)).alias(stored, metadata={**frame.schema[name].metadata, OWN_NAME: name})
            for name, stored in stored_names(frame.columns).items()
        )
    )


def own_names(frame: DataFrame) -> DataFrame:
    """Return a table that was read under the user's names, as far as they differ from those that it is stored by."""
    own = {field.name: field.metadata.get(OWN_NAME, field.name) for field in frame.schema.fields}
    if all(stored == name for stored, name in own.items()):
        return frame
    if len({name.casefold() for name in own.values()}) < len(own):  # columns were added or renamed since
        return frame
    return frame.select(*(F.col(quoted(stored)).alias(name) for stored, name in own.items()))
