"""A unit of work that takes too long is cancelled; another thread's work is not."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from remedi_spark.spark.watchdog import TimeLimitError, time_limit

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def _sleep(seconds: float) -> Any:
    def work(rows: Iterator[int]) -> Iterator[int]:
        time.sleep(seconds)
        yield sum(rows)

    return work


def test_only_the_unit_that_takes_too_long_is_cancelled(spark: SparkSession) -> None:
    context = spark.sparkContext
    context.parallelize([1], 1).mapPartitions(_sleep(0)).collect()  # the Python workers are up
    other: list[int] = []

    def work() -> None:
        with time_limit(spark, 300, "short"):
            other.extend(context.parallelize([1, 2], 1).mapPartitions(_sleep(4)).collect())

    beside = threading.Thread(target=work)
    beside.start()
    started = time.monotonic()
    with pytest.raises(TimeLimitError, match=r"long: not done within 1 s \(spark\.unit_seconds\)"), \
            time_limit(spark, 1, "long"):  # fmt: skip
        context.parallelize([1], 1).mapPartitions(_sleep(600)).collect()
    assert time.monotonic() - started < 300
    beside.join()
    assert other == [3]


def test_what_ends_in_time_and_what_fails_by_itself_is_left_alone(spark: SparkSession) -> None:
    with time_limit(spark, 300, "unit"):
        assert spark.range(3).count() == 3
    with pytest.raises(ValueError, match="mine"), time_limit(spark, 300, "unit"):
        raise ValueError("mine")
    with time_limit(spark, None, "unit"):
        assert spark.range(3).count() == 3
