"""Rows to explain: all owners of a table of few, more of the list than of the rest, and means as those of all rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from remedi_spark.labels.levels import choose_levels
from remedi_spark.report.explained import WEIGHT, draw_rows
from remedi_spark.report.outline import outline

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

OWNERS, SNAPSHOTS, SIZE = 300, 30, 600


def _drawn(rows: DataFrame, share: float, size: int) -> pd.DataFrame:
    return draw_rows(rows, "student", outline(rows, "student", [], share).listed, size).toPandas()


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """Six owners stand out, in most of their snapshots."""
    rng = np.random.default_rng(0)
    owner, day = np.divmod(np.arange(OWNERS * SNAPSHOTS), SNAPSHOTS)
    strong = (owner % 50 == 0) & (rng.random(len(owner)) < 0.8)
    score = np.where(strong, 0.9, 0.01) + rng.random(len(owner)) / 100
    days = (pd.Timestamp("2025-01-01") + pd.to_timedelta(7 * day, unit="D")).strftime("%Y-%m-%d")
    return pd.DataFrame({"owner_id": [f"o{i}" for i in owner], "snapshot_date": days, "student": score})


def test_few_owners_of_many_snapshots(spark: Any, table: pd.DataFrame) -> None:
    rows = spark.createDataFrame(table).repartition(3)
    drawn = _drawn(rows, 0.075, SIZE)
    again = _drawn(rows.repartition(2), 0.075, SIZE)
    by_key = [one.set_index(["owner_id", "snapshot_date"])[WEIGHT].sort_index() for one in (drawn, again)]
    pd.testing.assert_series_equal(*by_key)
    assert len(drawn) == SIZE
    assert not drawn.duplicated(["owner_id", "snapshot_date"]).any()
    assert drawn["owner_id"].nunique() == OWNERS
    assert drawn[WEIGHT].sum() == pytest.approx(len(table))
    merged = drawn.merge(table, on=["owner_id", "snapshot_date"])
    cut = table["student"].quantile(1 - 0.075)
    assert (merged["student"] >= cut * 0.99).sum() >= SIZE // 2 - 20
    assert np.average(merged["student"], weights=merged[WEIGHT]) == pytest.approx(table["student"].mean(), rel=0.05)


@pytest.mark.parametrize(("rows", "size"), [(40, 600), (20_000, 100)])
def test_small_and_large_tables(spark: Any, rows: int, size: int) -> None:
    frame = spark.range(rows).selectExpr("id AS owner_id", "CAST(NULL AS DATE) AS snapshot_date", "id % 17 AS student")
    drawn = _drawn(frame, 0.1, size)
    assert len(drawn) == min(rows, size)
    assert drawn[WEIGHT].sum() == pytest.approx(rows)
    assert drawn["owner_id"].is_unique


def test_a_table_of_one_score_and_an_empty_one(spark: Any) -> None:
    frame = spark.range(50).selectExpr("id AS owner_id", "CAST(NULL AS DATE) AS snapshot_date", "0.5D AS student")
    assert len(_drawn(frame, 0.1, 20)) == 10
    assert len(_drawn(frame.limit(0), 0.1, 20)) == 0


def test_levels_that_matter_have_room_beside_the_frequent_ones(spark: Any) -> None:
    levels = [("a", 90, 1), ("b", 80, 0), ("c", 70, 0), ("d", 60, 0), ("rare", 2, 2), ("e", 1, 0)]
    frame = spark.createDataFrame(
        [("city", *one) for one in levels], "feature string, level string, rows int, hits int"
    )
    kept = choose_levels(frame, ["feature"], "level", "hits", 4).orderBy("order").collect()
    assert [row["level"] for row in kept] == ["a", "b", "rare", "c"]
