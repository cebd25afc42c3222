"""Which rows are explained so that what they show holds for all: many owners, and more of the list than of the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as F

from remedi_spark.columns import KEY, OWNER
from remedi_spark.spark.partitions import row_hash, uniform

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from remedi_spark.report.outline import Listed

WEIGHT = "_weight"
_SEED = 7
_CANDIDATES = 100
"""Candidates for each row that is drawn: beyond, rows are thinned by their hash before owners are looked at."""


def draw_rows(rows: DataFrame, score: str, listed: Listed, size: int) -> DataFrame:
    """Return the keys of about ``size`` rows, half of them from the list, with ``_weight``.

    From the list and from the rest, every owner gives a row before any gives a second one. A weight says how many rows
    a drawn one stands for, so that a weighted mean is that of all rows: within an owner (rows / rows drawn), then from
    the owners drawn to all rows of the list, or of the rest.

    Args:
        rows: key and score of each.
        score: column of the score.
        listed: where the list begins, and how many rows it and the rest have.
        size: how many rows to draw.
    """
    if listed.cut is None:
        return rows.select(*KEY, F.lit(1.0).alias(WEIGHT)).limit(0)
    on_list = F.col(score) >= F.lit(listed.cut)
    keyed = rows.select(*KEY, row_hash(_SEED).alias("_hash"), on_list.alias("_listed"))
    counts = F.when(F.col("_listed"), F.lit(listed.on)).otherwise(F.lit(listed.off))
    return _drawn(keyed.withColumn("_count", counts), size // 2)


def _drawn(keyed: DataFrame, size: int) -> DataFrame:
    """Return ``size`` rows of each part (``_listed``), of as many owners as there are.

    The weights of a part sum to its ``_count``.
    """
    few = F.col("_count") <= _CANDIDATES * size
    keyed = keyed.where(few | (_share_of_hash(F.col("_hash")) < F.lit(_CANDIDATES * size) / F.col("_count")))
    # One task a part from here on: it has few candidates.
    part, owner = Window.partitionBy("_listed"), Window.partitionBy("_listed", OWNER)
    turns = keyed.withColumns(
        {"_turn": F.row_number().over(owner.orderBy("_hash", *KEY)), "_rows": F.count("*").over(owner)}
    )
    place = F.row_number().over(part.orderBy("_turn", uniform(OWNER, _SEED), *KEY))
    drawn = turns.withColumn("_place", place).where(F.col("_place") <= size)
    drawn = drawn.withColumn("_own", F.col("_rows") / F.count("*").over(owner))
    scaled = F.col("_own") * F.col("_count").cast("double") / F.sum("_own").over(part)
    return drawn.select(*KEY, scaled.alias(WEIGHT))


def _share_of_hash(hashed: Column) -> Column:
    return F.pmod(hashed, F.lit(1_000_003)) / F.lit(1_000_003.0)
