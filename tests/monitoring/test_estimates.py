"""Estimates beside what came of them: an older table goes on, past errors widen, a bundle without test rows is wide."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import functions as F
from scipy.special import expit

from remedi_spark.config.monitoring import MonitoringConfig
from remedi_spark.maths.expected import Estimate
from remedi_spark.maths.score_grid import count_on_grid
from remedi_spark.scoring.monitoring.estimates import estimated, last_by_name, past_errors
from remedi_spark.scoring.monitoring.history import MONITORING, earlier, latest, read_monitoring, to_frame
from remedi_spark.scoring.monitoring.holdout import GROUPS, NOTHING, HoldoutScores, count_holdout
from remedi_spark.scoring.monitoring.measures import Measure, Scored
from remedi_spark.scoring.monitoring.verdict import verdict_of
from remedi_spark.storage.tables import Tables

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

CONFIG = MonitoringConfig()
RNG = np.random.default_rng(0)
Z = RNG.normal(-4, 1.3, 20_000)
P = expit(Z)
LABELS = (RNG.random(20_000) < P).astype(float)
OWNERS = RNG.integers(0, 2000, 20_000)
HOLDOUT = HoldoutScores.of(P, LABELS, (OWNERS % GROUPS).astype(float))


def figures(holdout: HoldoutScores, facts: pd.DataFrame | None = None, config: MonitoringConfig = CONFIG) -> dict:
    return {one.metric: one for one in estimated(count_on_grid(P), 1400, holdout, "2026-01-01 m1", facts, config)}


def facts_of(pairs: list[tuple[float, tuple[float, float, float]]]) -> pd.DataFrame:
    """Return past lists: what came, and value, low, high of what had been estimated."""
    rows = []
    for i, (came, (value, low, high)) in enumerate(pairs):
        rows += [
            ("realised", "recall_at_k", came, None, None), ("estimated", "recall_at_k_before", value, low, high),
        ]  # fmt: skip
        rows[-2:] = [(*row, f"2025-0{i + 1}-01 m0") for row in rows[-2:]]
    frame = pd.DataFrame(rows, columns=["part", "metric", "value", "low", "high", "name"])
    return frame.assign(measured_at=datetime(2026, 1, 1, tzinfo=UTC))


def test_figures_have_their_interval_and_what_was_promised() -> None:
    found = figures(HOLDOUT)
    recall = found["recall_at_k"]
    assert recall.low < recall.value < recall.high
    top = np.argsort(-P)[:1400]
    assert found["promised_recall"].value == pytest.approx(LABELS[top].sum() / LABELS.sum(), abs=0.02)
    assert recall.value == pytest.approx(found["promised_recall"].value, abs=0.05)
    assert found["tested_rows"].value == 20_000


def test_without_test_rows_the_interval_is_wide_and_nothing_is_promised() -> None:
    known, unknown = figures(HOLDOUT), figures(NOTHING)
    assert unknown["promised_recall"].value is None
    assert unknown["tested_rows"].value == 0
    spread = [one["recall_at_k"].high - one["recall_at_k"].low for one in (known, unknown)]
    assert spread[1] > 1.2 * spread[0]
    stored = HoldoutScores.from_dict(NOTHING.to_dict())
    assert stored.known.mean.tolist() == [0, 1]


def test_past_errors_feed_the_next_estimate_once() -> None:
    plain = figures(HOLDOUT)
    low = figures(HOLDOUT, facts_of([(0.3, (0.5, 0.4, 0.6))] * 6))
    assert low["recall_at_k"].value < plain["recall_at_k"].value - 0.05
    assert low["recall_at_k_before"] == plain["recall_at_k_before"], "what is held against labels later on"
    assert low["ap"].value == plain["ap"].value, "of which nothing is known"
    mixed = figures(HOLDOUT, facts_of([(0.2, (0.5, 0.4, 0.6)), (0.8, (0.5, 0.4, 0.6))] * 3))
    spread = [one["recall_at_k"].high - one["recall_at_k"].low for one in (plain, mixed)]
    assert spread[1] > 1.8 * spread[0]
    few = figures(HOLDOUT, facts_of([(0.5, (0.5, 0.4, 0.6))] * 3))
    assert few["recall_at_k"] == plain["recall_at_k"], "three lists that came as expected"


def test_a_shift_of_the_base_rate_is_followed_where_that_is_asked_for() -> None:
    shifted = figures(HOLDOUT, config=MonitoringConfig(prior_shift=0.5))
    assert abs(shifted["prior_shift"].value) < 0.3
    assert "prior_shift" not in figures(HOLDOUT)


def test_spark_counts_test_rows_as_numpy_does(spark: SparkSession) -> None:
    frame = pd.DataFrame({"owner_id": OWNERS.astype(str), "label": LABELS, "student": Z}).head(3000)
    found = count_holdout(spark.createDataFrame(frame), "student", expit)
    assert found.rows.sum() == 3000
    assert found.positives.sum() == LABELS[:3000].sum()
    reference = HoldoutScores.of(P[:3000], LABELS[:3000], np.zeros(3000))
    assert found.known.mean == pytest.approx(reference.known.mean, abs=0.03)
    again = HoldoutScores.from_dict(found.to_dict())
    assert again.recall(0.07) == found.recall(0.07) == pytest.approx(reference.recall(0.07), abs=0.02)
    assert count_holdout(spark.createDataFrame(frame).where("label > 1"), "student", expit) is NOTHING


def test_a_table_of_an_older_version_goes_on(spark: SparkSession, tmp_path: Path) -> None:
    tables = Tables(spark, str(tmp_path))
    at = datetime(2026, 1, 1, tzinfo=UTC)
    first = Scored("t", "2026-01-01", "m1", "r1", at, [Measure("table", "rows", "rows", 10)])
    tables.append(to_frame(spark, [first]).drop("low", "high"), MONITORING)
    facts = earlier(tables, MONITORING)
    assert facts is not None
    assert facts["low"].isna().all()
    assert list(past_errors(facts, "recall_at_k")) == []
    assert latest(tables, "m1") is not None
    told = Measure("estimated", "2026-01-08 m1", "recall_at_k", 0.5, low=0.4, high=0.6)
    second = Scored("t", "2026-01-08", "m1", "r2", at, [Measure("table", "rows", "rows", 10), told])
    tables.append(to_frame(spark, [second]), MONITORING)
    rows = read_monitoring(tables)
    assert rows.where(F.col("low").isNull()).count() == 2
    assert last_by_name(earlier(tables, MONITORING))["estimated"]["2026-01-08 m1"] == {"recall_at_k": (0.5, 0.4, 0.6)}


def test_labels_that_were_revised_count_as_known_last() -> None:
    facts = facts_of([(0.3, (0.5, 0.4, 0.6))])
    later = facts[facts["part"] == "realised"].assign(value=0.55, measured_at=datetime(2026, 2, 1, tzinfo=UTC))
    pairs = list(past_errors(pd.concat([later, facts]), "recall_at_k"))
    assert pairs == [(0.55, Estimate(0.5, 0.4, 0.6))], "one pair a list, whatever the order of the rows"


def test_a_promoted_student_is_judged_by_its_own_lists(spark: SparkSession, tmp_path: Path) -> None:
    """Two lists of m1 held too little; m2 took over between two nights, and its list is as good as promised."""
    tables = Tables(spark, str(tmp_path))

    def night(day: int, version: str, *more: Measure) -> Scored:
        name = f"2026-01-0{day} {version}"
        told = [Measure("estimated", name, metric, 0.5, low=0.45, high=0.55) for metric in
                ("recall_at_k", "recall_at_k_before", "promised_recall", "buyers")]  # fmt: skip
        rows = Measure("table", "rows", "rows", 100.0)
        return Scored(
            "t", f"2026-01-0{day}", version, f"r{day}", datetime(2026, 2, day, tzinfo=UTC), [rows, *told, *more]
        )

    missed = [Measure("realised", f"2026-01-0{day} m1", "recall_at_k", 0.2) for day in (1, 2)]
    tables.append(to_frame(spark, [night(1, "m1"), night(2, "m1"), night(3, "m2", *missed)]), MONITORING)
    verdicts = {version: verdict_of(tables, version, CONFIG) for version in ("m1", "m2", "m3")}
    assert verdicts["m1"] is not None
    assert verdicts["m1"].decision == "retrain"
    assert verdicts["m2"] is not None
    assert verdicts["m2"].decision == "ship"
    assert verdicts["m3"] is None
    assert len(list(past_errors(earlier(tables, MONITORING), "recall_at_k"))) == 2, "they count for its next estimate"
