"""Rows of Python values that travel as JSON come out as they went in."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from remedi_spark.spark.local_rows import local_rows

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SCHEMA = "name string, value double, flag boolean, at timestamp, inner struct<many string, one string>"


def test_values_come_out_as_they_went_in(spark: SparkSession) -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    rows = [
        {"name": "Łódź \"x\" 'y' \\ \n {value}", "value": 0.1 + 0.2, "flag": True, "at": at,
         "inner": {"many": "a", "one": ""}},
        {"name": None, "value": None, "flag": None, "at": None, "inner": None},
        {"name": "", "value": math.nan, "flag": False, "at": at, "inner": {"many": None, "one": "b"}},
    ]  # fmt: skip
    frame = local_rows(spark, rows, SCHEMA)
    assert frame.rdd.getNumPartitions() == 1
    found = frame.select("*", F.unix_micros("at").alias("micros")).collect()
    assert [row["name"] for row in found] == [row["name"] for row in rows]
    assert found[0]["value"] == 0.1 + 0.2 and found[1]["value"] is None and math.isnan(found[2]["value"])
    assert [row["flag"] for row in found] == [True, None, False]
    assert [row["micros"] for row in found] == [int(at.timestamp()) * 10**6 + 678901, None, found[0]["micros"]]
    assert [row["inner"] and row["inner"].asDict() for row in found] == [row["inner"] for row in rows]


def test_no_rows_are_a_table_too(spark: SparkSession) -> None:
    frame = local_rows(spark, [], SCHEMA)
    assert frame.count() == 0
    assert frame.columns == ["name", "value", "flag", "at", "inner"]
