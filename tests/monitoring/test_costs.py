"""A drift that was planted is undone where it can be, and costs what the model's use of the feature makes it cost."""

from __future__ import annotations

import lightgbm
import numpy as np
import pandas as pd
import pytest

from remedi_spark.config.monitoring import MonitoringConfig
from remedi_spark.maths.calibrators import IdentityCalibrator
from remedi_spark.maths.drift import psi
from remedi_spark.samples.encoder import Encoder
from remedi_spark.scoring.bundle import Bundle, BundleParts
from remedi_spark.scoring.monitoring import costs
from remedi_spark.scoring.monitoring.healthy import restored
from remedi_spark.scoring.monitoring.measures import Measure, Scored, drifted, in_words, with_costs
from remedi_spark.scoring.one_change import scores_of_changes
from remedi_spark.storage.fitted import Fitted
from tests.monitoring.test_judging import COUNTER, DISTRIBUTION, TRAINING, frame

ENCODER: Encoder = COUNTER._encoder
RNG = np.random.default_rng(5)


def moved_back(rows: pd.DataFrame, feature: int) -> tuple[pd.DataFrame, float]:
    """Return the rows with the feature restored, and its PSI then."""
    name = f"f{feature}"
    found = rows.assign(**{name: restored(rows[name], feature, ENCODER, DISTRIBUTION, np.random.default_rng(0))})
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


@pytest.mark.parametrize(
    ("rows", "share", "wanted"), [(2000, 0.07, 600), (2000, 0.4, 600), (300, 0.07, 600), (1, 1, 9)]
)
def test_the_rows_that_are_rescored_stand_for_all_and_hold_the_list(rows: int, share: float, wanted: int) -> None:
    now = np.random.default_rng(1).random(rows)
    chosen, weight = costs.choose(now, share, wanted)
    assert len(set(chosen.tolist())) == len(chosen) <= max(wanted, 1)
    assert weight.sum() == pytest.approx(rows)
    assert weight @ now[chosen] == pytest.approx(now.sum(), rel=0.02)
    alone = weight == 1
    assert set(np.argsort(-now)[: min(round(share * rows), wanted // 2)]) <= set(chosen[alone]), (
        "the list, each for itself"
    )


def test_no_row_costs_nothing_to_choose_from() -> None:
    chosen, weight = costs.choose(np.empty(0), 0.07, costs.RESCORED)
    assert len(chosen) == len(weight) == 0


def linear() -> Bundle:
    """A bundle whose score rises with f0 alone, and has one tree for it."""
    rng = np.random.default_rng(0)
    x = ENCODER.transform(TRAINING)
    target = np.nan_to_num(TRAINING["f0"].to_numpy()) + 0.01 * rng.normal(size=len(TRAINING)) - 3
    settings = {"verbose": -1, "num_leaves": 31, "num_threads": 1, "seed": 0, "learning_rate": 0.3}
    text = lightgbm.train(settings, lightgbm.Dataset(x, target), 40).model_to_string()
    students = {"lightgbm": [Fitted("lightgbm", text.encode())]}
    return Bundle(BundleParts(ENCODER.to_dict(), students, IdentityCalibrator().to_dict(), "v", DISTRIBUTION.to_dict()))


def test_the_cost_of_a_planted_error_is_what_all_rows_show() -> None:
    bundle, rows = linear(), frame(2000, 3)
    wrong = rows.assign(f0=np.where(np.random.default_rng(2).random(2000) < 0.5, np.nan, rows["f0"]))
    some = {one.feature: one for one in costs.cost_of(bundle, wrong, [0, 1], 0.07)}
    assert some[1].recall < 0.02, "the model does not read it"
    assert some[0].recall > 0.05
    every = costs.cost_of(bundle, wrong, [0], 0.07, rescored=len(wrong))[0]
    assert some[0].recall == pytest.approx(every.recall, abs=0.05)
    assert some[0].ap == pytest.approx(every.ap, abs=0.05)


def test_one_change_at_a_time_scores_as_the_changed_rows_do() -> None:
    bundle, rows = linear(), frame(50, 4)
    changes = {
        0: rows["f0"].to_numpy()[::-1].copy(),
        1: np.array([None, "never seen", "a", "b", "new"] * 10, dtype=object),
    }
    found = scores_of_changes(bundle, rows, changes)
    for i, (feature, values) in enumerate(changes.items()):
        np.testing.assert_allclose(found[i], bundle.score(rows.assign(**{f"f{feature}": values})), rtol=0, atol=1e-12)
    assert np.ptp(found[0]) > 0.01
