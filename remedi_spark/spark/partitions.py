"""Row order and placement that do not depend on how the input happened to be partitioned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from remedi_spark.columns import OWNER, ROW_HASH, SNAPSHOT

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession


def row_hash(seed: int = 0) -> Column:
    """Return a hash of the row's key, the same on every run and every cluster."""
    return F.xxhash64(F.col(OWNER).cast("string"), F.col(SNAPSHOT).cast("string"), F.lit(seed))


def uniform(column: str, seed: int) -> Column:
    """Return a number in [0, 1) that depends on the column's value and the seed alone."""
    return F.pmod(F.xxhash64(F.col(column).cast("string"), F.lit(seed)), F.lit(1_000_003)) / F.lit(1_000_003.0)


def shape(frame: DataFrame, workers: int) -> DataFrame:
    """Spread a frame that has a ``row_hash`` over ``workers`` partitions, each in a fixed order.

    A gradient-boosting or torch fit depends on the order of its rows; this makes it depend on the rows alone.
    """
    # Not coalesce(1): a barrier stage may not merge partitions without a shuffle (SPARK-24820). Not repartitionByRange:
    # it samples its bounds with a seed of its own, and the same fit done again would see other partitions.
    return frame.repartition(workers, ROW_HASH).sortWithinPartitions(ROW_HASH)


def slots(spark: SparkSession) -> int:
    """Return how many tasks can run at once."""
    context = spark.sparkContext
    task_cpus = int(context.getConf().get("spark.task.cpus", "1"))
    return max(1, context.defaultParallelism // task_cpus)
