"""How the product writes CSV: every value whole, and none that a spreadsheet would compute."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql import types as t

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

CSV_OPTIONS = {
    "header": "true",
    "escape": '"',  # quotes inside quotes are doubled, as every other reader expects; Spark's own way is a backslash
    "ignoreLeadingWhiteSpace": "false",  # Spark would trim ids
    "ignoreTrailingWhiteSpace": "false",
}
"""For writing and for reading back."""
_COMPUTED = r"^[=+\-@\t\r]"
"""How a cell begins that a spreadsheet takes for a formula (OWASP, CSV injection)."""
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"


def flat(frame: DataFrame) -> DataFrame:
    """Return a frame whose nested columns are JSON text: CSV knows no nested values."""
    nested = [f.name for f in frame.schema.fields if isinstance(f.dataType, t.ArrayType | t.StructType | t.MapType)]
    return _replaced(frame, {name: F.to_json(name) for name in nested})


def without_formulas(frame: DataFrame) -> DataFrame:
    """Return a frame whose texts begin with an apostrophe where a spreadsheet would compute them.

    That is: texts that begin with ``=``, ``+``, ``-``, ``@``, a tab or a carriage return and are no plain number.
    """
    texts = [field.name for field in frame.schema.fields if isinstance(field.dataType, t.StringType)]
    columns = {}
    for name in texts:
        column = F.col(f"`{name}`")
        computed = column.rlike(_COMPUTED) & ~column.rlike(_NUMBER)
        columns[name] = F.when(computed, F.concat(F.lit("'"), column)).otherwise(column)
    return _replaced(frame, columns)


def _replaced(frame: DataFrame, columns: dict[str, Column]) -> DataFrame:
    return frame.withColumns(columns) if columns else frame  # Spark Connect insists on a column
