"""Exact ranks of all rows without moving them all to one task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as F

from remedi_spark.columns import OWNER, SNAPSHOT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import Column, DataFrame

_BUCKETS = 64
_HASH_BITS = 64
_SLICE_BITS = 6
"""Equal scores are dealt to 2^6 slices by the first bits of the hash that orders them."""
_REST = 2 ** (_SLICE_BITS - 1)
"""Slice of the rows that share a score with few others: after all that a signed hash has."""


def add_rank(scored: DataFrame, by: str) -> DataFrame:
    """Add ``rank`` (1 = highest ``by``, ties broken by a hash of the owner) and ``rows``, per snapshot.

    Rows are dealt to buckets by value; a rank is the place inside the bucket plus the rows before it, whose counts are
    all that is collected. A value that many rows share, the highest of its bucket, is dealt further by the hash.
    """
    found = scored.approxQuantile(by, [i / _BUCKETS for i in range(1, _BUCKETS)], 0.5 / _BUCKETS)
    cuts = sorted(set(found))
    shared = [cut for cut in cuts if found.count(cut) > 1]
    tie_break = _tie_break()
    slice_ = F.when(F.col(by).isin(shared), F.shiftright(tie_break, _HASH_BITS - _SLICE_BITS)).otherwise(_REST)
    # Equal values share a bucket, so that ties are broken inside one.
    bucketed = scored.withColumns({
        "_bucket": _below(cuts, F.col(by)), "_slice": slice_.cast("int"),
    })  # fmt: skip
    counts = bucketed.groupBy(SNAPSHOT, "_bucket", "_slice").agg(F.count("*").alias("_count"))
    order = (F.desc("_bucket"), F.asc("_slice"))
    above = Window.partitionBy(SNAPSHOT).orderBy(*order).rowsBetween(Window.unboundedPreceding, -1)
    counts = counts.withColumn("_above", F.coalesce(F.sum("_count").over(above), F.lit(0)))
    counts = counts.withColumn("rows", F.sum("_count").over(Window.partitionBy(SNAPSHOT)))
    counts = counts.select(
        F.col(SNAPSHOT).alias("_snapshot"), F.col("_bucket").alias("_b"), F.col("_slice").alias("_s"), "_above", "rows"
    )
    same = F.col(SNAPSHOT).eqNullSafe(F.col("_snapshot")) & (F.col("_bucket") == F.col("_b"))
    place = Window.partitionBy(SNAPSHOT, "_bucket", "_slice").orderBy(F.desc(by), tie_break, OWNER)
    ranked = bucketed.withColumn("_place", F.row_number().over(place))
    ranked = ranked.join(F.broadcast(counts), same & (F.col("_slice") == F.col("_s")))
    return ranked.withColumn("rank", (F.col("_place") + F.col("_above")).cast("long")).drop(
        "_bucket", "_slice", "_place", "_snapshot", "_b", "_s", "_above"
    )


def not_below(rows: DataFrame, by: str, ranked: DataFrame) -> DataFrame:
    """Return the rows that :func:`add_rank` does not place below all of ``ranked``, in the same snapshot.

    Each of ``ranked`` is among them, and nothing else but rows of the same score and hash. What is sent to the tasks is
    a row a snapshot.
    """
    last = ranked.groupBy(F.col(SNAPSHOT).alias("_snapshot")).agg(
        F.max_by(F.struct(F.col(by).alias("_least"), _tie_break().alias("_tie")), "rank").alias("_last")
    )
    same = F.col(SNAPSHOT).eqNullSafe(F.col("_snapshot"))
    least, tie = F.col("_last._least"), F.col("_last._tie")
    above = (F.col(by) > least) | (F.col(by) == least) & (_tie_break() <= tie)
    return rows.join(F.broadcast(last), same & above).drop("_snapshot", "_last")


def _tie_break() -> Column:
    return F.xxhash64(F.col(OWNER).cast("string"))


def _below(cuts: Sequence[float], value: Column, start: int = 0) -> Column:
    """Return how many of the ascending cuts are below a value, by halving: a comparison a level."""
    if not cuts:
        return F.lit(start)
    middle = len(cuts) // 2
    upper = _below(cuts[middle + 1 :], value, start + middle + 1)
    return F.when(value > cuts[middle], upper).otherwise(_below(cuts[:middle], value, start))
