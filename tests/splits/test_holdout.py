"""Which rows are test rows: the latest with a time, a share of the owners without."""

from __future__ import annotations

import logging
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from pyspark.sql import functions as F

from remedi_spark.config.chain import EvaluationConfig
from remedi_spark.errors import InputError
from remedi_spark.samples.holdout import at_most_tested, choose_holdout
from tests.splits.parting import split_holdout

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

START = date(2026, 1, 1)
WEEKS = 12
OWNERS = 40


def _table(spark: SparkSession, moments: list[Any], kind: str) -> Any:
    """Forty owners at every moment, every tenth row positive; the last moment is not labelled yet."""
    rows = [
        (owner, moment, None if moment == moments[-1] and len(moments) > 1 else float((owner + i) % 10 == 0))
        for i, moment in enumerate(moments)
        for owner in range(OWNERS)
    ]
    return spark.createDataFrame(rows, f"owner_id long, snapshot_date {kind}, label double")


def _parts(table: Any, config: EvaluationConfig, seed: int = 0) -> tuple[pd.DataFrame, str]:
    marked, described = split_holdout(table, config, seed)
    return marked.select("owner_id", "snapshot_date", "label", "part").toPandas(), described


def _weeks() -> list[date]:
    return [START + timedelta(weeks=i) for i in range(WEEKS)]


def test_the_latest_labelled_weeks_are_held_out(spark: SparkSession) -> None:
    found, described = _parts(_table(spark, _weeks(), "date"), EvaluationConfig(test_share=0.25))
    assert len(found) == OWNERS * WEEKS
    by_week = found.groupby("snapshot_date")["part"].agg(lambda part: "/".join(sorted(set(part)))).tolist()
    # Eleven labelled weeks: the cut at the 75 % quantile leaves the last three.
    assert by_week == ["train"] * 8 + ["test"] * 3 + ["unlabelled"]
    assert str(_weeks()[8]) in described


def test_an_embargo_drops_the_weeks_whose_labels_look_into_the_test_period(spark: SparkSession) -> None:
    config = EvaluationConfig(test_share=0.25, embargo_days=14)
    found, described = _parts(_table(spark, _weeks(), "date"), config)
    by_week = found.groupby("snapshot_date")["part"].first().tolist()
    assert by_week == ["train"] * 7 + ["dropped"] + ["test"] * 3 + ["unlabelled"]
    assert "14 days" in described


@pytest.mark.parametrize("kind", ["date", "timestamp"])
def test_a_day_can_be_named(spark: SparkSession, kind: str) -> None:
    moments = _weeks() if kind == "date" else [datetime.combine(day, datetime.min.time()) for day in _weeks()]
    config = EvaluationConfig(test_from=_weeks()[5], test_share=0.9)
    found, _ = _parts(_table(spark, moments, kind), config)
    assert found.groupby("snapshot_date")["part"].first().tolist() == ["train"] * 5 + ["test"] * 6 + ["unlabelled"]


def test_whole_numbers_are_a_time_too(spark: SparkSession) -> None:
    found, described = _parts(_table(spark, list(range(2010, 2022)), "long"), EvaluationConfig(test_share=0.25))
    assert found.groupby("snapshot_date")["part"].first().tolist() == ["train"] * 8 + ["test"] * 3 + ["unlabelled"]
    assert "2018" in described


@pytest.mark.parametrize("partitions", [1, 5])
def test_the_share_is_exact_however_rows_lie(spark: SparkSession, partitions: int) -> None:
    table = spark.range(5000).selectExpr("id AS owner_id", "id AS snapshot_date", "double(id % 10 = 0) AS label")
    found, described = _parts(table.repartition(partitions), EvaluationConfig(test_share=0.25))
    assert found.loc[found["part"] == "test", "snapshot_date"].agg(["min", "count"]).tolist() == [3750, 1250]
    assert "3750" in described


def test_two_moments_give_one_to_each_part(spark: SparkSession) -> None:
    table = _table(spark, [START, START + timedelta(weeks=1), START + timedelta(weeks=2)], "date")
    found, _ = _parts(table, EvaluationConfig(test_share=0.9))
    assert found.groupby("snapshot_date")["part"].first().tolist() == ["train", "test", "unlabelled"]


def _owners(spark: SparkSession, moment: date | None) -> Any:
    """2,000 owners at one moment, or none; every tenth is positive, and one more is not labelled."""
    rows = [(owner, moment, float(owner % 10 == 0)) for owner in range(2000)]
    return spark.createDataFrame([*rows, (5000, moment, None)], "owner_id long, snapshot_date date, label double")


@pytest.mark.parametrize("moment", [None, START])
def test_without_two_times_owners_are_held_out(spark: SparkSession, moment: date | None) -> None:
    table = _owners(spark, moment)
    found, described = _parts(table, EvaluationConfig(test_share=0.25))
    assert "one owner in 4" in described
    assert found.loc[found["owner_id"] == 5000, "part"].tolist() == ["unlabelled"]
    test = found[found["part"] == "test"]
    assert test["label"].sum() == 50, "a quarter of the 200 positives"
    assert len(test) == pytest.approx(500, abs=90)
    assert set(found["part"]) == {"train", "test", "unlabelled"}


def test_held_out_owners_depend_on_the_seed_alone(spark: SparkSession) -> None:
    table = _owners(spark, None)
    found, _ = _parts(table, EvaluationConfig(test_share=0.25))
    test = found[found["part"] == "test"]
    again, _ = _parts(table.repartition(7), EvaluationConfig(test_share=0.25))
    assert set(again.loc[again["part"] == "test", "owner_id"]) == set(test["owner_id"])
    other, _ = _parts(table, EvaluationConfig(test_share=0.25), seed=1)
    assert set(other.loc[other["part"] == "test", "owner_id"]) != set(test["owner_id"])


def test_several_rows_of_an_owner_are_held_out_together(spark: SparkSession) -> None:
    rows = [(owner, None, float(owner % 5 == 0 and copy == 0)) for owner in range(300) for copy in range(3)]
    table = spark.createDataFrame(rows, "owner_id long, snapshot_date date, label double")
    found, _ = _parts(table, EvaluationConfig(test_share=0.5))
    assert len(found) == 900
    assert (found.groupby("owner_id")["part"].nunique() == 1).all()


def _until(spark: SparkSession, last: date) -> Any:
    """A table whose rows after a day are all negative: their labels are not known yet, and were filled with 0."""
    table = _table(spark, _weeks(), "date").where("label IS NOT NULL")
    known = F.col("snapshot_date") <= F.lit(last)
    return table.withColumn("label", F.when(known, F.col("label")).otherwise(F.lit(0.0)))


def test_a_latest_part_without_a_positive_gives_way_to_an_earlier_cut(
    spark: SparkSession, caplog: pytest.LogCaptureFixture
) -> None:
    logging.getLogger("remedi").propagate = True
    found = split_holdout(_until(spark, _weeks()[6]), EvaluationConfig(test_share=0.25), 0, both=True)
    parts = found[0].where("label > 0").groupBy("part").count().toPandas().set_index("part")["count"]
    assert parts["test"] > 0
    assert parts["train"] > 0
    assert "hold labels of one kind only" in caplog.text
    with pytest.raises(InputError, match=r"evaluation\.test_from: .*one kind only"):
        split_holdout(_until(spark, _weeks()[6]), EvaluationConfig(test_from=_weeks()[8]), 0, both=True)


def test_positives_of_one_moment_alone_are_held_out_by_owner(spark: SparkSession) -> None:
    found, described = split_holdout(_until(spark, START), EvaluationConfig(test_share=0.25), 0, both=True)
    assert "one owner in 4" in described
    assert set(found.where("label > 0").select("part").distinct().toPandas()["part"]) == {"train", "test"}


def test_of_many_test_rows_those_of_some_owners_are_measured(spark: SparkSession) -> None:
    rows = spark.range(4000).selectExpr(
        "id % 2000 as owner_id", "cast(null as date) as snapshot_date", "cast(id % 50 = 0 as double) as label",
        "'train' as source",
    )  # fmt: skip
    whole = choose_holdout(rows, EvaluationConfig(test_share=0.25), 0)
    assert at_most_tested(whole, rows, 1000, 0) is whole

    some = at_most_tested(whole, rows, 400, 0)
    found = (
        some.with_buckets(rows)
        .select("owner_id", whole.part.alias("before"), some.part.alias("after"))
        .toPandas()
        .drop_duplicates()
    )
    assert len(found) == 2000, "both rows of an owner have one fate"
    assert set(found.loc[found["before"] == "train", "after"]) == {"train"}
    tested = found.loc[found["before"] == "test", "after"]
    assert set(tested) == {"test", "dropped"}
    # 200 owners are wanted of about 500: a binomial draw's deviation is 11.
    assert 145 < (tested == "test").sum() < 255
    assert f"of {2 * len(tested)} rows about 400" in some.description
