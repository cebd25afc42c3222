"""Which rows are explained so that what they show holds for all: many owners, and more of the list than of the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as F

from remedi_spark.columns import KEY, OWNER
from remedi_spark.spark.partitions import row_hash, uniform

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

WEIGHT = "_weight"
_SEED = 7
_CANDIDATES = 100
"""Candidates for each row that is drawn: beyond, rows are thinned by their hash before owners are looked at."""
_ACCURACY = 1e-3


def draw_rows(rows: DataFrame, score: str, share: float, size: int) -> DataFrame:
    """Return the keys of about ``size`` rows, half of them from the list, with ``_weight``.

    From the list (the best ``share`` of the rows by ``score``) and from the rest, every owner gives a row before any
    gives a second one. A weight says how many rows a drawn one stands for, so that a weighted mean is that of all rows:
    within an owner (rows / rows drawn), then from the owners drawn to all rows of the list, or of the rest.
    """
    cuts = rows.approxQuantile(score, [max(0.0, 1.0 - share)], _ACCURACY)
    counted = rows.groupBy(F.col(score) >= F.lit(cuts[0])).count().collect() if cuts else []
    parts = [
        _drawn(rows.where((F.col(score) >= F.lit(cuts[0])) == F.lit(listed)), count, size // 2)
        for listed, count in counted
    ]
    if not parts:
        return rows.select(*KEY, F.lit(1.0).alias(WEIGHT)).limit(0)
    return parts[0] if len(parts) == 1 else parts[0].unionByName(parts[1])


def _drawn(rows: DataFrame, count: int, size: int) -> DataFrame:
    """Return ``size`` of ``count`` rows, of as many owners as there are, with weights whose sum is ``count``."""
    keyed = rows.select(*KEY, row_hash(_SEED).alias("_hash"))
    if count > _CANDIDATES * size:
        keyed = keyed.where(_share_of_hash(F.col("_hash")) < _CANDIDATES * size / count)
    owner = Window.partitionBy(OWNER)
    turns = keyed.withColumns(
        {"_turn": F.row_number().over(owner.orderBy("_hash", *KEY)), "_rows": F.count("*").over(owner)}
    )
    drawn = turns.orderBy("_turn", uniform(OWNER, _SEED), *KEY).limit(size)
    stands_for = F.col("_rows") / F.count("*").over(owner)
    # At most ``size`` rows: their sum may be taken in one task.
    scaled = F.col("_own") * F.lit(float(count)) / F.sum("_own").over(Window.partitionBy(F.lit(0)))
    return drawn.withColumn("_own", stands_for).select(*KEY, scaled.alias(WEIGHT))


def _share_of_hash(hashed: Column) -> Column:
    return F.pmod(hashed, F.lit(1_000_003)) / F.lit(1_000_003.0)
