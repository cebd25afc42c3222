"""Ids of owners as text: the same owner has the same text whatever the type of the column."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql import types as T

from remedi_spark.reading.ids import id_values
from remedi_spark.spark.names import quoted

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

DIGITS = 2.0**53
"""Above this a column of doubles no longer holds every whole number."""


def id_text(frame: DataFrame, name: str) -> Column:
    """Return a column as text; 1465.0 is 1465, as pandas writes whole numbers beside nulls. NaN is null."""
    return id_values(F.col(quoted(name)), frame.schema[name].dataType).cast("string")


def beyond_digits(frame: DataFrame, name: str) -> Column:
    """Whether the id in a column of floats may have lost digits, so that it could be another owner's."""
    largest = 2.0**24 if isinstance(frame.schema[name].dataType, T.FloatType) else DIGITS
    return F.abs(F.col(quoted(name)).cast("double")) >= F.lit(largest)


def id_family(found: T.DataType) -> str:
    """Return what ids of two tables must have in common to meet."""
    return "number" if isinstance(found, T.NumericType) else found.simpleString()
