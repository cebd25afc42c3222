"""Past scores are measured once their labels are known, once, and only where no such label was learned from."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import functions as F

from remedi_spark.config.monitoring import MonitoringConfig
from remedi_spark.scoring.monitoring.history import (
    MONITORING,
    after_training,
    earlier,
    latest,
    realised,
    rows_before,
    to_frame,
)
from remedi_spark.scoring.monitoring.measures import Measure, Scored
from remedi_spark.storage.tables import Tables

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

DAYS = [date(2026, 1, 1), date(2026, 1, 29), date(2026, 2, 26)]


def scored(day: str, rows: int, *, honest: bool, state: str = "ok", hour: int = 1) -> Scored:
    measures = [
        Measure("table", "rows", "rows", rows, state),  # type: ignore[arg-type]
        Measure("table", "labels", "after_training", float(honest)),
    ]
    return Scored("owners", day, "m1", f"run{day}{hour}", datetime(2026, 3, 1, hour, tzinfo=UTC), measures)


@pytest.fixture(scope="module")
def tables(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Tables:
    """Ten owners at three snapshots; the labels of the last one are not known yet."""
    found = Tables(spark, str(tmp_path_factory.mktemp("history")))
    rows = [
        {"owner_id": owner, "snapshot_date": day, "model_version": "m1", "score": (10 - owner) / 20,
         "in_top_k": owner < 4, "label": float(owner in (0, 5)) if day != DAYS[2] else np.nan}
        for day in DAYS for owner in range(10)
    ]  # fmt: skip
    frame = spark.createDataFrame(pd.DataFrame(rows)).replace(float("nan"), None)
    found.overwrite(frame.drop("label"), "scores", partition_by=("snapshot_date",))
    found.overwrite(frame.select("owner_id", "snapshot_date", "label"), "owner_features")
    runs = [
        scored("2026-01-01", 9, honest=False), scored("2026-01-29", 10, honest=True, hour=2),
        scored("2026-02-26", 12, honest=True, hour=3), scored("2026-02-26", 2, honest=True, state="stop", hour=4),
    ]  # fmt: skip
    found.append(to_frame(spark, runs), MONITORING)
    return found


def test_realised_figures_are_those_computed_by_hand(tables: Tables) -> None:
    found = list(realised(tables, earlier(tables, MONITORING), MonitoringConfig(lift_warn=2)))
    assert {one.name for one in found} == {"2026-01-29 m1"}, "in-sample or unlabelled snapshots are not measured"
    values = {one.metric: one.value for one in found}
    assert values["recall_at_k"] == pytest.approx(1 / 2)  # owner 0 of owners 0 and 5 is in the top 4
    assert values["lift_at_k"] == pytest.approx((1 / 4) / (2 / 10))
    assert (values["rows"], values["observed"]) == (10, pytest.approx(0.2))
    assert values["predicted"] == pytest.approx(np.mean([(10 - i) / 20 for i in range(10)]))
    assert [one.state for one in found if one.metric == "lift_at_k"] == ["warn"]


def test_the_run_before_is_that_of_the_latest_snapshot_that_was_not_stopped(tables: Tables) -> None:
    facts = earlier(tables, MONITORING)
    assert rows_before(facts, "owners", "2026-03-26") == 12
    assert rows_before(facts, "owners", "2026-01-30") == 10
    assert rows_before(facts, "owners", "2025-01-01") is None
    assert rows_before(facts, "others", "2026-03-26") is None
    assert rows_before(None, "owners", None) is None


def test_nothing_is_measured_twice(tables: Tables, spark: SparkSession) -> None:
    done = list(realised(tables, earlier(tables, MONITORING), MonitoringConfig()))
    again = scored("2026-03-26", 12, honest=True, hour=5)
    tables.append(to_frame(spark, [Scored(again.table, again.snapshot, "m2", "next", again.measured_at, [
        *again.measures, *done])]), MONITORING)  # fmt: skip
    assert list(realised(tables, earlier(tables, MONITORING), MonitoringConfig())) == []
    found = latest(tables, "m1")
    assert found is not None
    snapshot, measures, past = found
    assert snapshot == "2026-02-26"
    assert [one.value for one in measures if one.metric == "rows"] == [12]
    assert {one.name for one in past} == {"2026-01-29 m1"}
    assert latest(tables, "m3") is None


def test_labels_that_are_revised_are_measured_again(tables: Tables, spark: SparkSession) -> None:
    rows = tables.read("owner_features")
    late = (F.col("owner_id") == 1) & (F.col("snapshot_date") == F.lit(DAYS[1]))
    revised = rows.withColumn("label", F.when(late, F.lit(1.0)).otherwise(F.col("label"))).toPandas()
    tables.overwrite(spark.createDataFrame(revised.replace({np.nan: None})), "owner_features")
    again = list(realised(tables, earlier(tables, MONITORING), MonitoringConfig()))
    assert {one.metric: one.value for one in again}["recall_at_k"] == pytest.approx(2 / 3)
    assert {one.name for one in again} == {"2026-01-29 m1"}
    kept = Scored("owners", "2026-04-23", "m2", "later", datetime(2026, 3, 2, tzinfo=UTC), again)
    tables.append(to_frame(spark, [kept]), MONITORING)
    assert list(realised(tables, earlier(tables, MONITORING), MonitoringConfig())) == []


def test_a_label_window_must_begin_after_those_learned_from() -> None:
    assert after_training(date(2026, 1, 29), "2026-01-01", 28)
    assert not after_training(date(2026, 1, 28), "2026-01-01", 28)
    assert not after_training(None, "2026-01-01", 28)
    assert not after_training(date(2026, 1, 1), None, 28)


def test_a_foreign_table_of_that_name_is_passed_over(spark: SparkSession, tmp_path: Path) -> None:
    other = Tables(spark, str(tmp_path))
    other.overwrite(spark.range(2), MONITORING)
    assert earlier(other, MONITORING) is None
