"""A table of which nothing shows whether it has changed is read as a whole, never taken for unchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from remedi_spark.config.sources import Location
from remedi_spark.features.changes import changed_rows, fingerprint

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def test_rows_of_memory_are_all_new(spark: SparkSession) -> None:
    location = Location(table="rows_of_memory")
    spark.range(3).createOrReplaceTempView("rows_of_memory")
    before = fingerprint(spark, location, "events")
    spark.range(4).createOrReplaceTempView("rows_of_memory")
    now = fingerprint(spark, location, "events")
    assert before != now
    assert changed_rows(spark, location, before, now) is None
