"""Rows that are to judge a model and were learned from: they are taken out of the training rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql import types as t

from remedi_spark.columns import KEY

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


def shared_keys(rows: DataFrame, others: DataFrame) -> DataFrame:
    """Return the distinct keys of ``rows`` that ``others`` have too, as :data:`remedi_spark.columns.KEY`."""
    return rows.select(*KEY).join(_renamed(others), _same(rows, others), "left_semi").distinct()


def without_keys(rows: DataFrame, keys: DataFrame) -> DataFrame:
    """Return the rows whose key is not among ``keys``."""
    return rows.join(_renamed(keys), _same(rows, keys), "left_anti")


def _renamed(keys: DataFrame) -> DataFrame:
    return keys.select(*[F.col(name).alias(f"_{name}") for name in KEY])


def _same(rows: DataFrame, others: DataFrame) -> Column:
    owner, snapshot = KEY
    same = [
        (rows[name].cast(kind), F.col(f"_{name}").cast(kind))
        for name in (owner, snapshot)
        for kind in [_common(rows.schema[name].dataType, others.schema[name].dataType)]
    ]
    return (same[0][0] == same[0][1]) & same[1][0].eqNullSafe(same[1][1])


def _common(one: t.DataType, other: t.DataType) -> str:
    """Return the type that two tables' keys are compared in: an id may be a number in one and text in the other."""
    both = (one, other)
    if all(isinstance(kind, t.DateType | t.TimestampType) for kind in both):
        return "timestamp"
    if all(isinstance(kind, t.IntegralType) for kind in both):
        return "bigint"
    return "double" if all(isinstance(kind, t.NumericType) for kind in both) else "string"
