"""The page of a year of nights: small, without a script or a request, with the figures of the tables; escaped."""

from __future__ import annotations

import re
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from remedi_spark.config import load_config
from remedi_spark.report.history import HISTORY, history_of, write_history
from remedi_spark.report.page.history import figures, render_history
from remedi_spark.report.page.nights import Failure, History, Night, Told, checked
from remedi_spark.scoring.monitoring.history import MONITORING, to_frame
from remedi_spark.scoring.monitoring.measures import Measure, Scored
from remedi_spark.scoring.monitoring.nights import NIGHTS, SCHEMA
from remedi_spark.spark.local_rows import local_rows
from remedi_spark.storage.home import home_at
from remedi_spark.storage.tables import Tables
from tests.reporting.conftest import HOSTILE

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def year(nights: int = 200) -> History:
    """Return nights as a year of scoring leaves them: two models, ripening labels, some drift, a stopped night."""
    rng, found = np.random.default_rng(0), []
    for i in range(nights):
        recall = 0.52 + 0.04 * np.sin(i / 20) - 0.0004 * i
        came = None if i > nights - 28 else float(np.clip(rng.normal(recall, 0.05), 0, 1))
        told = {
            name: Told(estimated=recall * size, low=recall * size * 0.85, high=recall * size * 1.15,
                       realised=None if came is None else came * size)
            for name, size in (("recall_at_k", 1), ("precision_at_k", 0.15), ("lift_at_k", 13), ("ap", 0.4))
        }  # fmt: skip
        found.append(Night(
            snapshot=str(date(2026, 1, 1) + timedelta(days=i)), model_version="a1b2c3" if i < 120 else "d4e5f6",
            run_id=f"run{i}", measured_at=f"2026-01-01T03:00:{i % 60:02d}", rows=100_000 + 50 * i, figures=told,
            buyers=400.0, promised=0.53, score_psi=0.02 + 0.001 * i, quarantined=float(rng.poisson(30)),
            state="stopped" if i == 60 else "ok", seconds=600 + 2.0 * i,
            costliest="days since last, lorry" if i % 40 == 0 else None, recall_lost=0.08 if i % 40 == 0 else None,
        ))  # fmt: skip
    failure = Failure(at="2026-03-02T03:10:00+00:00", run_id="r", verb="run", stage="fuser", note="No space left")
    return History(title="buys within 28 days", made="2026-07-20T05:00:00+00:00", nights=found, failures=[failure])


def test_two_hundred_nights_are_small_quick_and_ask_nobody() -> None:
    history = year()
    started = time.perf_counter()
    page = render_history(history)
    assert time.perf_counter() - started < 5
    assert len(page.encode()) < 3_000_000
    assert "<script" not in page
    assert not re.search(r"""(?:src|href)=|url\(|@import""", page)
    assert "default-src 'none'" in page
    assert page.count("<svg") == len(figures(history.nights)) == 9
    assert "No space left" in page
    assert "stopped: former scores stayed" in page


def test_past_estimates_are_checked_in_the_open() -> None:
    history = year()
    known, held, error = checked(history.nights, "recall_at_k")
    assert known == 173
    assert held == sum(night.figures["recall_at_k"].held or False for night in history.nights)
    assert f"Of {known} lists whose labels are known, {held} lay within their 90" in render_history(history)
    assert abs(error or 1) < 0.02


@pytest.mark.parametrize("nights", [0, 1, 3])
def test_few_nights(nights: int) -> None:
    page = render_history(year(nights))
    assert ("No snapshot has been scored yet" in page) == (nights == 0)
    assert "nan" not in page.lower().replace("finance", "")


def test_hostile_text_stays_text() -> None:
    night = year(1).nights[0].model_copy(update={"model_version": HOSTILE, "costliest": HOSTILE, "snapshot": HOSTILE})
    failure = Failure(at="x", run_id="r", verb=HOSTILE, stage=HOSTILE, note=HOSTILE)
    page = render_history(History(title=HOSTILE, made="now", nights=[night, night], failures=[failure]))
    assert "<img" not in page
    assert "<script" not in page


def test_the_table_has_the_figures_of_the_page(spark: SparkSession, tmp_path: Path) -> None:
    tables = Tables(spark, str(tmp_path))
    assert history_of(tables, load_config(), "t").nights == []

    def scored(day: str, hour: int, recall: float, *more: Measure, version: str = "m1") -> Scored:
        told = Measure("estimated", f"{day} {version}", "recall_at_k", recall, low=recall - 0.1, high=recall + 0.1)
        rows = Measure("table", "rows", "rows", 100.0 * hour)
        return Scored("t", day, version, f"r{hour}", datetime(2026, 3, 1, hour, tzinfo=UTC), [rows, told, *more])

    lost = [Measure("feature", name, "recall_lost", value, "warn") for name, value in (("a", 0.1), ("b", 0.3))]
    first = Measure("realised", "2026-01-01 m1", "recall_at_k", 0.7)
    revised = Measure("realised", "2026-01-01 m1", "recall_at_k", 0.55)
    stop = Measure("feature", "c", "unseen_rise", 1.0, "stop")
    runs = [
        scored("2026-01-01", 1, 0.4), scored("2026-01-01", 2, 0.5), scored("2026-01-08", 3, 0.6, *lost, first),
        scored("2026-01-15", 4, 0.6, revised, version="m2"), scored("2026-01-22", 5, 0.6, stop, version="m2"),
    ]  # fmt: skip
    tables.append(to_frame(spark, runs), MONITORING)
    path = write_history(tables, home_at(tmp_path, "home"), load_config(), "t")
    found = tables.read(HISTORY).orderBy("snapshot").toPandas()
    assert found["model_version"].tolist() == ["m1", "m1", "m2", "m2"]
    assert found["recall_at_k_estimated"].tolist() == [0.5, 0.6, 0.6, 0.6], "as measured last"
    assert found["recall_at_k_realised"].iloc[0] == 0.55, "labels that were revised count as known last"
    assert found["costliest"].tolist() == [None, "b", None, None]
    assert found["rows"].tolist() == [200, 300, 400, 500]
    assert found["state"].tolist() == ["ok", "warn", "ok", "stopped"]
    text = path.read_text(encoding="utf-8")
    assert "50.0" in text or "50" in text
    assert "55" in text


def test_the_nights_of_one_backfill_share_its_duration(spark: SparkSession, tmp_path: Path) -> None:
    tables, at = Tables(spark, str(tmp_path)), datetime(2026, 3, 1, tzinfo=UTC)
    rows = [Measure("table", "rows", "rows", 10.0)]
    runs = [Scored("t", f"2026-01-0{day}", "m1", "backfill-1", at, rows) for day in (1, 2, 3)]
    runs.append(Scored("t", "2026-02-01", "m1", "night-1", at, rows))
    tables.append(to_frame(spark, runs), MONITORING)
    empty = {
        "verb": "scores",
        "at": at,
        "kind": "run",
        "name": "scores",
        "metric": "seconds",
        "state": "done",
        "note": None,
    }
    noted = [{**empty, "run_id": run, "value": seconds} for run, seconds in (("backfill-1", 90.0), ("night-1", 40.0))]
    tables.append(local_rows(spark, noted, SCHEMA), NIGHTS)
    assert [night.seconds for night in history_of(tables, load_config(), "t").nights] == [30, 30, 30, 40]


def test_a_monitoring_table_of_an_older_version_has_its_nights(spark: SparkSession, tmp_path: Path) -> None:
    tables, at = Tables(spark, str(tmp_path)), datetime(2026, 3, 1, tzinfo=UTC)
    runs = [
        Scored("t", f"2026-01-0{day}", "m1", f"r{day}", at, [Measure("table", "rows", "rows", 10.0)])
        for day in (1, 2, 3)
    ]
    tables.append(to_frame(spark, runs).drop("low", "high"), MONITORING)
    found = history_of(tables, load_config(), "t")
    assert [(night.rows, night.figures, night.seconds) for night in found.nights] == [(10, {}, None)] * 3
    assert found.verdict is not None
    assert found.verdict.decision == "look"
    assert "3 scored snapshots" in render_history(found)
