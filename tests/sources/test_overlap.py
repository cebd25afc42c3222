"""Keys that two tables share, whatever types the tables give them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from remedi_spark.samples.overlap import shared_keys, without_keys

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.mark.parametrize(
    ("one", "other"),
    [("string", "int"), ("double", "bigint")],
)
@pytest.mark.parametrize("time", ["date", "timestamp", "void"])
def test_shared_keys_are_found_and_left_out(spark: SparkSession, one: str, other: str, time: str) -> None:
    kind = "date" if time == "void" else time
    days = ["2026-01-01", "2026-02-01"]
    rows = spark.createDataFrame([(i, day) for i in range(4) for day in days], "o int, d string")
    some = spark.createDataFrame([(1, days[0]), (3, days[1]), (9, days[0])], "o int, d string")
    here = rows.selectExpr(f"cast(o AS {one}) AS owner_id", "cast(d AS date) AS snapshot_date", "1.0 AS x")
    there = some.selectExpr(f"cast(o AS {other}) AS owner_id", f"cast(d AS {kind}) AS snapshot_date")
    if time == "void":  # tables without a time: the owner is the key
        here, there = (frame.selectExpr("owner_id", "cast(null AS date) AS snapshot_date") for frame in (here, there))
    shared = shared_keys(there, here)
    assert shared.count() == 2
    assert without_keys(here, shared).count() == (4 if time == "void" else 6)
