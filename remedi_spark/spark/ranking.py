"""Exact ranks of all rows without moving them all to one task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as F

from remedi_spark.columns import OWNER, SNAPSHOT

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_BUCKETS = 64


def add_rank(scored: DataFrame, by: str) -> DataFrame:
    """Add ``rank`` (1 = highest ``by``, ties broken by a hash of the owner) and ``rows``, per snapshot.

    Rows are dealt to buckets by value; a rank is the place inside the bucket plus the rows of higher buckets, whose
    counts are all that is collected.
    """
    cuts = sorted(set(scored.approxQuantile(by, [i / _BUCKETS for i in range(1, _BUCKETS)], 0.5 / _BUCKETS)))
    points = F.array(*[F.lit(float(cut)) for cut in cuts])
    # Equal values share a bucket, so that ties are broken inside one.
    bucketed = scored.withColumn("_bucket", F.size(F.filter(points, lambda cut: cut < F.col(by))))
    counts = bucketed.groupBy(SNAPSHOT, "_bucket").agg(F.count("*").alias("_count"))
    above = Window.partitionBy(SNAPSHOT).orderBy(F.desc("_bucket")).rowsBetween(Window.unboundedPreceding, -1)
    counts = counts.withColumn("_above", F.coalesce(F.sum("_count").over(above), F.lit(0)))
    counts = counts.withColumn("rows", F.sum("_count").over(Window.partitionBy(SNAPSHOT)))
    counts = counts.select(F.col(SNAPSHOT).alias("_snapshot"), F.col("_bucket").alias("_b"), "_above", "rows")
    same = F.col(SNAPSHOT).eqNullSafe(F.col("_snapshot")) & (F.col("_bucket") == F.col("_b"))
    place = Window.partitionBy(SNAPSHOT, "_bucket").orderBy(F.desc(by), F.xxhash64(F.col(OWNER).cast("string")), OWNER)
    ranked = bucketed.withColumn("_place", F.row_number().over(place)).join(F.broadcast(counts), same)
    return ranked.withColumn("rank", (F.col("_place") + F.col("_above")).cast("long")).drop(
        "_bucket", "_place", "_snapshot", "_b", "_above"
    )
