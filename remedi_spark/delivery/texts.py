"""Texts that PostgreSQL can hold: all but U+0000, which Parquet and Delta hold without trouble."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql import types as t

from remedi_spark.spark.names import quoted

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

ZERO, REPLACEMENT = "\x00", "\ufffd"


def zero_counts(frame: DataFrame) -> dict[str, int]:
    """Return, by column, the rows with a U+0000 in a text; columns without are left out. One pass over the rows."""
    holds = {field.name: _holds(F.col(quoted(field.name)), field.dataType) for field in frame.schema.fields}
    counts = [F.count(F.when(held, 1)).alias(f"c{i}") for i, held in enumerate(holds.values()) if held is not None]
    names = [name for name, held in holds.items() if held is not None]
    found = frame.agg(*counts).collect()[0] if counts else ()
    return {name: count for name, count in zip(names, found, strict=True) if count}


def without_zero(frame: DataFrame, names: dict[str, int]) -> DataFrame:
    """Return the frame with U+FFFD for each U+0000 in the columns that :func:`zero_counts` has found."""
    kinds = {field.name: field.dataType for field in frame.schema.fields}
    return frame.withColumns({name: _cleaned(F.col(quoted(name)), kinds[name]) for name in names})


def _holds(column: Column, kind: t.DataType) -> Column | None:
    """Return whether a value holds a U+0000 at any depth; None where its type holds no text."""
    if isinstance(kind, t.StringType):
        return column.contains(ZERO)
    if isinstance(kind, t.ArrayType):
        inner = kind.elementType
        if _holds(column, inner) is None:
            return None
        return F.exists(column, lambda one: F.coalesce(_required(_holds(one, inner)), F.lit(False)))
    if isinstance(kind, t.StructType):
        fields = [_holds(column.getField(field.name), field.dataType) for field in kind.fields]
        held = [F.coalesce(one, F.lit(False)) for one in fields if one is not None]
        return None if not held else F.greatest(*held) if len(held) > 1 else held[0]
    return None


def _cleaned(column: Column, kind: t.DataType) -> Column:
    if isinstance(kind, t.StringType):
        return F.regexp_replace(column, ZERO, REPLACEMENT)
    if isinstance(kind, t.ArrayType):
        inner = kind.elementType
        return F.transform(column, lambda one: _cleaned(one, inner))
    if isinstance(kind, t.StructType):
        fields = [_cleaned(column.getField(field.name), field.dataType).alias(field.name) for field in kind.fields]
        return F.when(column.isNotNull(), F.struct(*fields))
    return column


def _required(column: Column | None) -> Column:
    assert column is not None
    return column
