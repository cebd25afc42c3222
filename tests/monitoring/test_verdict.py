"""Ship, look or retrain: by what a list is expected to lose, by what past lists held, by the drift that costs."""

from __future__ import annotations

import pytest

from remedi_spark.config.monitoring import MonitoringConfig
from remedi_spark.maths.expected import Estimate
from remedi_spark.scoring.monitoring.measures import Measure
from remedi_spark.scoring.monitoring.verdict import decide

LIMITS = MonitoringConfig(retrain_loss=0.15, retrain_cost=5)
GOOD = {"recall_at_k": (0.5, 0.4, 0.6), "promised_recall": (0.5, None, None), "buyers": (100.0, 80.0, 120.0)}


def told(value: float, low: float, high: float, buyers: float = 100.0) -> dict:
    return {**GOOD, "recall_at_k": (value, low, high), "buyers": (buyers, buyers, buyers)}


@pytest.mark.parametrize(
    ("figures", "decision", "why"),
    [
        (GOOD, "ship", "expected recall 50.0% (40.0% to 60.0%), 50.0% on test rows"),
        (told(0.3, 0.2, 0.4), "retrain", "about 20 buyers fewer, more than retraining may cost"),
        (told(0.4, 0.25, 0.55), "look", "which may be chance"),
        (told(0.3, 0.2, 0.4, buyers=20), "ship", "30.0%"),  # four buyers: a retraining is worth five
        (told(0.45, 0.3, 0.48), "ship", "45.0%"),
        ({**GOOD, "promised_recall": (None, None, None)}, "look", "had no test rows"),
        ({}, "look", "has no estimate"),
    ],
)
def test_the_estimate_decides(figures: dict, decision: str, why: str) -> None:
    found = decide(figures, [], [], LIMITS)
    assert found.decision == decision
    assert why in found.reason


def test_lists_that_held_less_than_estimated_twice_in_a_row_ask_for_training() -> None:
    one = Estimate(0.5, 0.4, 0.6)
    assert decide(GOOD, [(0.3, one)], [], LIMITS).decision == "ship"
    assert decide(GOOD, [(0.3, one), (0.5, one)], [], LIMITS).decision == "ship"
    found = decide(GOOD, [(0.5, one), (0.3, one), (0.35, one)], [], LIMITS)
    assert found.decision == "retrain"
    assert "recall 35.0%, estimated 50.0%, at least 40.0%" in found.reason


def test_drift_that_costs_is_named() -> None:
    moved = [Measure("feature", "b", "psi", 3.0, "warn"), Measure("feature", "a", "recall_lost", 0.1, "warn")]
    found = decide(GOOD, [], moved, LIMITS)
    assert found.decision == "look"
    assert found.reason.endswith("a: if its drift is an error, the list loses 10.0% of its buyers")
