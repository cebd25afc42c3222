"""Columns by exactly the user's name, whatever signs are in it. PySpark is loaded only where a column is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import Column


def quoted(name: str) -> str:
    """Return a column's name as an SQL identifier, dots and backticks included."""
    return "`" + name.replace("`", "``") + "`"


def column(name: str) -> Column:
    """Return the column of exactly this name."""
    from pyspark.sql import functions as F

    return F.col(quoted(name))


def try_cast(name: str, data_type: str) -> Column:
    """Return a column cast to a type, null where a value cannot be cast, in ANSI mode too."""
    from pyspark.sql import functions as F

    return F.expr(f"try_cast({quoted(name)} AS {data_type})")
