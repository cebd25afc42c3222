"""What is handed over is exactly what was scored, also where one run scored several snapshots or with two models."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from pyspark.sql import functions as F

from remedi_spark.delivery.selection import select_rows
from remedi_spark.scoring.scores_schema import CONTRACT
from tests.exports.conftest import later, make_scores, store


@pytest.fixture(scope="module")
def backfilled(spark: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Three snapshots of one run; the last scored by two models at the same moment."""
    first = make_scores(spark, 10).withColumn("run_id", F.lit("backfill"))
    moment = first.select("scored_at").first()[0]
    same = {"run_id": F.lit("backfill"), "scored_at": F.lit(moment).cast("timestamp")}
    others = [later(first, days).withColumns(same).where(f"rank <= {rows}") for days, rows in ((28, 7), (56, 5))]
    challenger = others[1].where("rank <= 4").withColumn("model_version", F.lit("m2"))
    scores = first.unionByName(others[0]).unionByName(others[1]).unionByName(challenger)
    return store(scores, tmp_path_factory.mktemp("backfilled") / "scores")


@pytest.mark.parametrize(
    ("wanted", "rows"),
    [("latest", 4), ("all", 26), ("2026-01-31", 10), ("2026-02-01..2026-03-01", 7), ("2026-03-28", 9)],
)
def test_a_slice_is_a_snapshot_a_model_and_a_run(spark: Any, backfilled: str, wanted: str, rows: int) -> None:
    found = select_rows(spark, backfilled, CONTRACT, wanted)
    assert found.rows.count() == found.count == rows


def test_without_a_time(spark: Any, tmp_path: Any) -> None:
    scores = make_scores(spark, 6, day=None).withColumn("run_id", F.lit("one"))
    newer = scores.where("rank <= 2").withColumns({"model_version": F.lit("m2")})
    found = select_rows(spark, store(scores.unionByName(newer), tmp_path / "flat"), CONTRACT)
    assert found.rows.count() == found.count == 2


def test_moments_without_a_zone(spark: Any, tmp_path: Any) -> None:
    scores = make_scores(spark, 6)
    at = [F.lit(datetime(2026, 3, 29, 2, minute).isoformat()).cast("timestamp_ntz") for minute in (30, 45)]
    moments = [scores.withColumn("snapshot_date", one).where(f"rank <= {6 - i}") for i, one in enumerate(at)]
    frame = moments[0].unionByName(moments[1])
    folder = tmp_path / "moments.parquet"
    frame.write.parquet(str(folder))
    found = select_rows(spark, str(folder), CONTRACT)
    assert found.rows.count() == found.count == 5
