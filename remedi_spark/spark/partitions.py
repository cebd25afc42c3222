"""Row order and placement that do not depend on how the input happened to be partitioned."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from remedi_spark.columns import OWNER, ROW_HASH, SNAPSHOT
from remedi_spark.spark.capabilities import capabilities, setting

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

_KEYS_TRIED = 64
"""Keys a partition: that none of so many is for one of them has a chance of e^-64."""
_keys: dict[int, list[int]] = {}
"""By number of partitions; Spark's hash is the same in every session."""
_MANY = 10_000
"""More rows than any cluster has slots, and a small job."""


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


def in_one_task(frame: DataFrame) -> DataFrame:
    """Read a frame that has a ``row_hash`` in one task, in the order of :func:`shape`.

    Whatever makes the rows runs in that task as well, so it is for what costs next to nothing beside reading a table.
    """
    return frame.coalesce(1).sortWithinPartitions(ROW_HASH)


def place(frame: DataFrame, partition: Column, workers: int) -> DataFrame:
    """Spread a frame that has a ``row_hash`` over ``workers`` partitions, each in a fixed order.

    Args:
        frame: the rows.
        partition: which partition a row goes to, an integer from 0 to ``workers - 1``.
        workers: how many there are.
    """
    keys = F.array(*[F.lit(key).cast("long") for key in _keys_of(frame.sparkSession, workers)])
    return frame.repartition(workers, F.get(keys, partition)).sortWithinPartitions(ROW_HASH)


def _keys_of(spark: SparkSession, workers: int) -> list[int]:
    """Return for each partition a key whose hash leads there: Spark sends a row where the hash of its key points."""
    if workers not in _keys:
        tried = spark.range(_KEYS_TRIED * workers).withColumn("at", F.pmod(F.hash("id"), F.lit(workers)))
        found = tried.groupBy("at").agg(F.min("id").alias("key")).orderBy("at").collect()
        _keys[workers] = [row["key"] for row in found]
    return _keys[workers]


def slots(spark: SparkSession) -> int:
    """Return how many tasks can run at once, of the executors that are there.

    Counted by Spark's scheduler; not ``spark.default.parallelism``, which anybody may set to anything.
    """
    counted = _counted_slots(spark) if capabilities(spark).has_jvm else 0
    return max(1, counted or _configured_slots(spark))


def _counted_slots(spark: SparkSession) -> int:
    """Return what the scheduler counts, 0 where it cannot be asked."""
    from py4j.protocol import Py4JError

    try:
        scheduler: Any = spark.sparkContext._jsc.sc()
        return int(scheduler.maxNumConcurrentTasks(scheduler.resourceProfileManager().defaultResourceProfile()))
    except (Py4JError, TypeError, AttributeError):  # a platform may forbid it
        return 0


def _configured_slots(spark: SparkSession) -> int:
    """Return the slots that the settings promise, where the scheduler cannot be asked or no executor is there yet."""
    task_cpus, master = int(setting(spark, "spark.task.cpus", "1")), setting(spark, "spark.master", "")
    if master.startswith("local"):
        cores = re.match(r"local\[(\d+|\*)", master)
        number = cores.group(1) if cores else "1"
        return (os.cpu_count() or 1 if number == "*" else int(number)) // task_cpus
    executors = int(setting(spark, "spark.executor.instances", "0") or 0)
    if not executors:
        return _default_parallelism(spark) // task_cpus
    return executors * (int(setting(spark, "spark.executor.cores", "1")) // task_cpus)


def _default_parallelism(spark: SparkSession) -> int:
    """Return over how many partitions Spark spreads a range when it is free to choose."""
    if capabilities(spark).has_jvm:
        return int(spark.sparkContext.defaultParallelism)
    return spark.range(_MANY).select(F.spark_partition_id()).distinct().count()
