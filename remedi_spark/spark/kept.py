"""What a session keeps for several uses: the rows of a frame, and a value that tasks read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from pyspark import StorageLevel

from remedi_spark.spark.capabilities import capabilities
from remedi_spark.spark.scratch import written

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

T = TypeVar("T")


@contextmanager
def kept(frame: DataFrame, *, on_disk: bool = False, scratch: bool = True) -> Iterator[DataFrame]:
    """Keep the rows of a frame while the block runs, so that several queries compute them once.

    A session that cannot keep them writes them to files that go in the end (:mod:`remedi_spark.spark.scratch`).

    Args:
        frame: what is read more than once.
        on_disk: only there, for as many rows as a company has; else in memory as far as they fit.
        scratch: whether files may stand in; not where frames made of the rows may be read after the block: a session
            computes again what it has let go of, but not what was in a file.
    """
    if not capabilities(frame.sparkSession).can_cache:
        if not scratch:
            yield frame
            return
        with written(frame) as rows:
            yield rows
        return
    held = frame.persist(StorageLevel.DISK_ONLY if on_disk else StorageLevel.MEMORY_AND_DISK_DESER)
    try:
        yield held
    finally:
        held.unpersist()


def shared(spark: SparkSession, value: T) -> Callable[[], T]:
    """Return a function that gives tasks a value: sent once an executor where the session can, else with each task."""
    if not capabilities(spark).has_jvm:
        return lambda: value
    sent = spark.sparkContext.broadcast(value)
    return lambda: sent.value
