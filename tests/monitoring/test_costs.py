"""A drift that was planted is undone where it can be, and costs what the model's use of the feature makes it cost."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from remedi_spark.config.monitoring import MonitoringConfig
from remedi_spark.maths.drift import psi
from remedi_spark.samples.encoder import Encoder
from remedi_spark.scoring.monitoring.healthy import restored
from remedi_spark.scoring.monitoring.measures import Measure, Scored, drifted, in_words, with_costs
from tests.monitoring.test_judging import COUNTER, DISTRIBUTION, TRAINING, frame

ENCODER: Encoder = COUNTER._encoder
RNG = np.random.default_rng(5)


def moved_back(rows: pd.DataFrame, feature: int) -> tuple[pd.DataFrame, float]:
    """Return the rows with the feature restored, and its PSI then."""
    found = restored(rows, feature, ENCODER, DISTRIBUTION, np.random.default_rng(0))
    counts = COUNTER.split(COUNTER.count(found))
    return found, psi(DISTRIBUTION.counts[feature], counts.features[feature])


def test_another_unit_is_undone() -> None:
    rows = frame(4000, 1)
    scaled = rows.assign(f0=rows["f0"] * 100 + 7)
    found, left = moved_back(scaled, 0)
    assert left < 0.01
    both = rows["f0"].notna()
    assert np.corrcoef(found.loc[both, "f0"], rows.loc[both, "f0"])[0, 1] > 0.93
    assert found["f1"].equals(rows["f1"])


def test_rows_that_did_not_drift_stay_as_they_are() -> None:
    found, _ = moved_back(TRAINING, 0)
    assert (found["f0"].fillna(-99) == TRAINING["f0"].fillna(-99)).mean() > 0.99
    found, _ = moved_back(TRAINING, 1)
    assert found["f1"].fillna("").equals(TRAINING["f1"].fillna(""))


def test_nulls_and_unseen_levels_get_what_training_had() -> None:
    rows = frame(4000, 2, nulls=0.8, unseen=0.7)
    assert moved_back(rows, 0)[1] < 0.02
    found, left = moved_back(rows, 1)
    assert left < 0.02
    assert set(found["f1"].dropna()) <= {"a", "b", "new"}
    all_null = rows.assign(f0=np.nan, f1=None)
    assert moved_back(all_null, 0)[1] < 0.02
    assert moved_back(all_null, 1)[1] < 0.02


def test_drift_is_ranked_by_what_it_costs_and_warns_of_that() -> None:
    limits = MonitoringConfig(loss_warn=0.05)
    measures = [
        Measure("feature", "idle", "psi", 4.0, "warn"), Measure("feature", "used", "psi", 0.3, "warn"),
        Measure("feature", "calm", "psi", 0.01), Measure("feature", "bad", "psi", 2.0, "stop"),
    ]  # fmt: skip
    assert drifted(measures, ["calm", "used", "idle", "bad"]) == [2, 3, 1]
    cost = {"idle": 0.001, "used": 0.2, "bad": 0.01}
    run = Scored("t", None, "m", "r", pd.Timestamp("2026-01-01"), list(with_costs(measures, cost, cost, limits)))
    states = {(one.name, one.metric): one.state for one in run.measures}
    assert states["idle", "psi"] == "ok"
    assert states["used", "psi"] == "warn"
    assert states["bad", "psi"] == "stop", "a limit that the user has set stops whatever it costs"
    assert [(one.name, one.metric) for one in run.worst[:2]] == [("bad", "psi"), ("used", "recall_lost")]
    assert in_words(run.worst[1], "events") == (
        "used (from events): if its drift is an error, the list loses 20.0% of its buyers"
    )
    alone = list(with_costs(measures, {}, {}, limits))
    assert [one.state for one in alone[:2]] == ["warn", "warn"], "unknown costs excuse nothing"


@pytest.mark.parametrize("rows", [0, 1])
def test_few_rows(rows: int) -> None:
    few = TRAINING.head(rows)
    assert len(moved_back(few, 0)[0]) == len(moved_back(few, 1)[0]) == rows
