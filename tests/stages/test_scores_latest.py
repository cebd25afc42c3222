"""A catalog's readers find the last run of the last snapshot under a name of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from remedi_spark.scoring import stage as scores
from remedi_spark.storage.tables import Tables
from tests.exports.conftest import later, make_scores


@pytest.fixture
def tables(spark: SparkSession) -> Iterator[Tables]:
    spark.sql("CREATE SCHEMA latest_view")
    yield Tables(spark, "spark_catalog.latest_view")
    spark.sql("DROP SCHEMA latest_view CASCADE")


def test_the_view_is_the_last_run_of_the_last_snapshot(tables: Tables) -> None:
    first = make_scores(tables.spark, 30)
    tables.overwrite(later(first, 28).where("rank <= 20").unionByName(first), "scores")
    scores.offer_latest(tables)
    view = tables.read("scores_latest")
    assert view.columns == first.columns
    assert view.agg(F.count("*"), F.min("snapshot_date").cast("string")).first() == (20, "2026-02-28")
    newer = F.current_timestamp() + F.expr("INTERVAL 1 YEAR")
    again = later(first, 28).withColumns({"run_id": F.lit("again"), "scored_at": newer})
    tables.append(again.withColumn("model_version", F.lit("m2")), "scores")
    assert {row["run_id"] for row in tables.read("scores_latest").collect()} == {"again"}, "the view follows the table"
    scores.offer_latest(tables)  # a second run


def test_one_run_may_score_several_snapshots_with_two_models(tables: Tables) -> None:
    first = make_scores(tables.spark, 30).withColumn("run_id", F.lit("one"))
    moment = F.lit(first.select("scored_at").first()[0]).cast("timestamp")  # type: ignore[index]
    last = later(first, 28).withColumns({"run_id": F.lit("one"), "scored_at": moment})
    challenger = last.where("rank <= 20").withColumn("model_version", F.lit("m2"))
    tables.overwrite(first.unionByName(last).unionByName(challenger), "scores")
    scores.offer_latest(tables)
    assert tables.read("scores_latest").groupBy("snapshot_date", "model_version").count().collect()[0]["count"] == 20
    assert tables.read("scores_latest").count() == 20


def test_without_the_right_to_make_it_the_scores_stay(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(scores, "warn", lambda stage, message: said.append(message))
    scores.offer_latest(tables)  # no table: Spark refuses the view
    assert len(said) == 1
    assert "no view spark_catalog.latest_view.scores_latest" in said[0]
