"""Exact ranks against pandas, with ties, several snapshots and degenerate scores."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import functions as F

from remedi_spark.spark.ranking import add_rank, not_below

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SCHEMA = "owner_id long, snapshot_date date, score double"


def _ranked(spark: SparkSession, table: pd.DataFrame, partitions: int = 3) -> pd.DataFrame:
    frame = spark.createDataFrame(table, SCHEMA).repartition(partitions)
    found = add_rank(frame, "score").toPandas()
    assert list(found.columns) == ["owner_id", "snapshot_date", "score", "rows", "rank"]
    return found.sort_values(["snapshot_date", "owner_id"], ignore_index=True)


def _table(rows: int, snapshots: int, distinct: int) -> pd.DataFrame:
    rng = np.random.default_rng(rows)
    days = [date(2026, 1, 1 + i) for i in range(snapshots)]
    skewed = rng.integers(0, distinct, rows) ** 3 / distinct**3
    day = [days[i] for i in rng.integers(0, snapshots, rows)]
    return pd.DataFrame({"owner_id": rng.permutation(rows), "snapshot_date": day, "score": skewed})


@pytest.mark.parametrize(("snapshots", "distinct"), [(1, 40), (3, 40), (2, 100_000)])
def test_ranks_are_those_of_pandas_but_for_the_order_of_ties(
    spark: SparkSession, snapshots: int, distinct: int
) -> None:
    found = _ranked(spark, _table(3000, snapshots, distinct))
    by_day = found.groupby("snapshot_date")
    assert (by_day["rows"].first() == by_day.size()).all()
    for _, day in by_day:
        assert sorted(day["rank"]) == list(range(1, len(day) + 1))
        tied = day.groupby("score")["rank"]
        np.testing.assert_array_equal(tied.transform("min"), day["score"].rank(ascending=False, method="min"))
        np.testing.assert_array_equal(tied.transform("max"), day["score"].rank(ascending=False, method="max"))


def test_ties_are_broken_the_same_way_however_rows_lie(spark: SparkSession) -> None:
    table = _table(2000, 2, 5)
    one = _ranked(spark, table, partitions=1)
    pd.testing.assert_frame_equal(_ranked(spark, table.sample(frac=1, random_state=0), partitions=7), one)
    best = one[(one["snapshot_date"] == date(2026, 1, 1)) & (one["score"] == 0)]
    by_owner = best["owner_id"].corr(best["rank"], method="spearman")
    assert abs(by_owner) < 0.3, "a hash, not the id itself, breaks ties"


def test_ties_that_are_dealt_further_keep_the_order_of_their_hash(spark: SparkSession) -> None:
    table = _table(3000, 2, 4)  # two thirds of the rows have a score of 0
    frame = spark.createDataFrame(table, SCHEMA)
    hashed = add_rank(frame, "score").withColumn("hash", F.xxhash64(F.col("owner_id").cast("string"))).toPandas()
    for _, tied in hashed.groupby(["snapshot_date", "score"]):
        assert tied.sort_values("rank")["hash"].is_monotonic_increasing


def test_equal_scores_and_a_single_row_are_ranked(spark: SparkSession) -> None:
    same = pd.DataFrame({"owner_id": range(50), "snapshot_date": date(2026, 1, 1), "score": 0.25})
    assert sorted(_ranked(spark, same)["rank"]) == list(range(1, 51))
    one = spark.createDataFrame([(1, None, 0.5)], SCHEMA)
    row = add_rank(one, "score").collect()[0]
    assert (row["rank"], row["rows"], row["snapshot_date"]) == (1, 1, None)


@pytest.mark.parametrize("distinct", [4, 100_000])
def test_rows_not_below_the_best_are_the_best(spark: SparkSession, distinct: int) -> None:
    table = _table(2000, 3, distinct)
    table.loc[table["snapshot_date"] == date(2026, 1, 3), "snapshot_date"] = None  # a batch of one moment has no time
    frame = spark.createDataFrame(table, SCHEMA)
    best = add_rank(frame, "score").where("rank <= 0.1 * rows")
    found = not_below(frame, "score", best).toPandas()
    wanted = best.toPandas()
    assert len(found) == len(wanted) > 190
    assert set(found["owner_id"]) == set(wanted["owner_id"])
