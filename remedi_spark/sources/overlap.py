"""Rows that are to judge a model and were learned from: they are taken out of the training rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from remedi_spark.columns import KEY, OWNER

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


def shared_keys(rows: DataFrame, others: DataFrame) -> DataFrame:
    """Return the distinct keys of ``rows`` that ``others`` have too, as :data:`remedi_spark.columns.KEY`."""
    return rows.select(*KEY).join(_renamed(others), _same(rows), "left_semi").distinct()


def without_keys(rows: DataFrame, keys: DataFrame) -> DataFrame:
    """Return the rows whose key is not among ``keys``."""
    return rows.join(_renamed(keys), _same(rows), "left_anti")


def _renamed(keys: DataFrame) -> DataFrame:
    return keys.select(*[F.col(name).alias(f"_{name}") for name in KEY])


def _same(rows: DataFrame) -> Column:
    # As text: an id may be a number in one table and text in the other.
    owner = rows[OWNER].cast("string") == F.col(f"_{OWNER}").cast("string")
    snapshot = KEY[1]
    return owner & rows[snapshot].cast("string").eqNullSafe(F.col(f"_{snapshot}").cast("string"))
