"""What the list of a scoring run is expected to hold, before any label is known: the rows ``estimated``."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from remedi_spark.config.monitoring import MonitoringConfig
from remedi_spark.maths.expected import Correction, Estimate, corrected, estimate, learned, prior_shift
from remedi_spark.maths.recalibration import Recalibration, for_later_rows
from remedi_spark.maths.score_grid import ScoredRows
from remedi_spark.scoring.monitoring.distribution import Array
from remedi_spark.scoring.monitoring.holdout import NOTHING, HoldoutScores
from remedi_spark.scoring.monitoring.measures import Measure

if TYPE_CHECKING:
    import pandas as pd

    from remedi_spark.scoring.bundle import BundleParts

CHECKED = {name: name for name in ("recall_at_k", "precision_at_k", "lift_at_k", "ap")} | {
    "buyers_at_k": "precision_at_k"
}
"""By figure, the one whose past errors correct it."""
BEFORE = "_before"
"""Ends the name of a figure as it was before past errors corrected it."""


def holdout_of(parts: BundleParts) -> HoldoutScores:
    """Return how a model's probabilities turned out on test rows; nothing where its bundle does not know."""
    return NOTHING if parts.holdout is None else HoldoutScores.from_dict(parts.holdout)


def estimated(
    chances: Array, k: float, holdout: HoldoutScores, name: str, facts: pd.DataFrame | None, config: MonitoringConfig
) -> Iterator[Measure]:
    """Yield the expected figures of the list of the best ``k`` rows, with their intervals.

    Args:
        chances: counts of the probabilities on the grid.
        k: rows of the list.
        holdout: of the model.
        name: snapshot and model version.
        facts: of earlier runs: what was estimated and what came of it.
        config: of monitoring.
    """
    scored = ScoredRows.of_counts(chances)
    known = holdout.known
    if config.prior_shift and holdout.prior is not None:
        shift = prior_shift(scored, known, holdout.prior, sd=config.prior_shift)
        known = Recalibration(known.mean + np.array([shift, 0.0]), known.covariance)
        yield Measure("estimated", name, "prior_shift", shift)
    for metric, one in estimate(scored, k, for_later_rows(known)).items():
        by = learned(list(past_errors(facts, CHECKED[metric]))) if metric in CHECKED else Correction()
        told = corrected(metric, one, by)
        yield Measure("estimated", name, metric, told.value, low=told.low, high=told.high)
        if CHECKED.get(metric) == metric:
            yield Measure("estimated", name, metric + BEFORE, one.value, low=one.low, high=one.high)
    yield Measure("estimated", name, "tested_rows", float(holdout.rows.sum()))
    if scored.total:
        yield Measure("estimated", name, "promised_recall", holdout.recall(min(1.0, k / scored.total)))


def past_errors(facts: pd.DataFrame | None, metric: str) -> Iterator[tuple[float, Estimate]]:
    """Yield what a figure of past lists turned out to be, and what had been estimated before any correction."""
    if facts is None or not len(facts):
        return
    by_name = last_by_name(facts)
    for name, values in by_name["realised"].items():
        told, came = by_name["estimated"].get(name, {}), values.get(metric, (None,))[0]
        value, low, high = told.get(metric + BEFORE, (None, None, None))
        if came is not None and value is not None and low is not None and high is not None:
            yield came, Estimate(value, low, high)


Figure = tuple[float | None, float | None, float | None]
"""Value, low, high."""


def last_by_name(facts: pd.DataFrame) -> dict[str, dict[str, dict[str, Figure]]]:
    """Return figures by part (``estimated``, ``realised``), name and metric: the last ones measured."""
    found: dict[str, dict[str, dict[str, Figure]]] = {"estimated": {}, "realised": {}}
    ordered = facts[facts["part"].isin(list(found))].sort_values("measured_at", kind="stable")
    texts = [ordered[column].astype(str).tolist() for column in ("part", "name", "metric")]
    numbers = [ordered[column].astype(float).tolist() for column in ("value", "low", "high")]
    for part, name, metric, *figure in zip(*texts, *numbers, strict=True):
        value, low, high = (None if math.isnan(each) else each for each in figure)
        found[part].setdefault(name, {})[metric] = (value, low, high)
    return found
