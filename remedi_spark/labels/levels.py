"""Which levels of a text feature a table or a curve has room for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as F

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def choose_levels(counted: DataFrame, group: list[str], level: str, weight: str, most: int) -> DataFrame:
    """Return at most ``most`` levels of each group, with ``order``: half the most frequent, half the heaviest others.

    Args:
        counted: a row a level, with ``rows``.
        group: columns of which each value has levels of its own.
        level: column of the level.
        weight: column by which a level that is not frequent may matter; levels without any weight come by frequency.
        most: levels of a group.
    """
    frequent = Window.partitionBy(*group).orderBy(F.desc("rows"), level)
    common = (F.col("_place") <= (most + 1) // 2).cast("int")
    heaviest = Window.partitionBy(*group).orderBy(F.desc("_common"), F.desc(weight), "_place")
    placed = counted.withColumn("_place", F.row_number().over(frequent)).withColumn("_common", common)
    return placed.withColumn("order", F.row_number().over(heaviest)).where(F.col("order") <= most)
