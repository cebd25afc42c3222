"""Joins on the key of a row, in which a null snapshot equals itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from remedi_spark.columns import CARRIED, KEY, PART

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def join_rows(left: DataFrame, right: DataFrame, how: str = "inner") -> DataFrame:
    """Join two tables of the chain row by row; of the columns that both carry, the left ones stay."""
    key = [name for name in (*KEY, PART) if name in left.columns and name in right.columns]
    extra = [name for name in right.columns if name not in (*CARRIED, *KEY) and name not in left.columns]
    renamed = right.select(*[F.col(name).alias(f"_right_{name}") for name in key], *extra)
    same = [F.col(name).eqNullSafe(F.col(f"_right_{name}")) for name in key]
    condition = same[0]
    for one in same[1:]:
        condition = condition & one
    return left.join(renamed, condition, how).drop(*[f"_right_{name}" for name in key])
