"""How good a list is expected to be before any label is known: ranking metrics of labels drawn from calibrated chances.

The performance of a classifier follows from its probabilities if these are calibrated (NannyML's confidence-based
performance estimation). Here for rankings: each of many draws takes one (intercept, slope) of what the probabilities
are off by (:mod:`remedi_spark.maths.recalibration`), draws a label for every row, and measures the list. The spread of
the draws holds both errors: of sampling (the number of buyers in a list is Poisson binomial) and of calibration.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from remedi_spark.errors import InputError
from remedi_spark.maths.checks import FloatArray
from remedi_spark.maths.recalibration import Recalibration
from remedi_spark.maths.score_grid import ScoredRows, log_odds

LEVEL = 0.9
DRAWS = 400
ESTIMATED = ("recall_at_k", "precision_at_k", "lift_at_k", "ap", "buyers_at_k", "buyers")
"""Of a list of K rows; ``buyers`` are all positives among the rows, ``buyers_at_k`` those in the list."""
_LARGEST = {"recall_at_k": 1.0, "precision_at_k": 1.0, "ap": 1.0}


@dataclass(frozen=True)
class Estimate:
    """What is expected of a figure, and the bounds of its interval (:data:`LEVEL`)."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Correction:
    """What errors of past estimates are used for, in half-widths of an interval."""

    shift: float = 0.0
    wider: float = 1.0


def estimate(
    scored: ScoredRows, k: float, known: Recalibration, *, draws: int = DRAWS, seed: int = 0
) -> dict[str, Estimate]:
    """Return the expected figures of the list of the best ``k`` rows, by name of :data:`ESTIMATED`.

    Args:
        scored: rows by probability.
        k: rows of the list, above 0; more than there are means all.
        known: how far the probabilities are off.
        draws: of labels.
        seed: the same seed gives the same figures.

    Returns:
        Nothing where there are no rows, or no draw has a positive.
    """
    if not k > 0:
        raise InputError(f"k: found {k}, expected the number of rows of the list, above 0")
    if not scored.total:
        return {}
    drawn = draw_figures(scored, k, known, draws, np.random.default_rng(seed))
    held = drawn["buyers"] > 0
    if not held.any():
        return {}
    return {name: _summarised(values[held]) for name, values in drawn.items()}


def draw_figures(
    scored: ScoredRows, k: float, known: Recalibration, draws: int, rng: np.random.Generator
) -> dict[str, FloatArray]:
    """Return each figure of :data:`ESTIMATED` in every draw, shape (draws,); nan where it has no positive."""
    lines = known.draw(draws, rng)
    p = expit(lines[:, :1] + lines[:, 1:] * log_odds(scored.p))
    counts = scored.rows.astype(np.int64)
    positives = rng.binomial(counts, p).astype(np.float64)
    return _figures(scored.rows, positives, min(k, scored.total))


def _figures(rows: FloatArray, positives: FloatArray, k: float) -> dict[str, FloatArray]:
    """Return the figures of lists, each row of ``positives`` (draws, b) being one; bins are tied rows."""
    ends = np.cumsum(rows)
    share = np.clip((k - (ends - rows)) / rows, 0, 1)
    within, total = positives @ share, positives.sum(axis=1)
    precision = np.cumsum(positives, axis=1) / ends
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = within / total
        ap = (positives * precision).sum(axis=1) / total
        lift = recall / (k / ends[-1])
    return {
        "recall_at_k": recall, "precision_at_k": within / k, "lift_at_k": lift, "ap": ap, "buyers_at_k": within,
        "buyers": total,
    }  # fmt: skip


def _summarised(values: FloatArray) -> Estimate:
    middle = float(values.mean())
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(middle, float(min(low, middle)), float(max(high, middle)))


def learned(errors: Sequence[tuple[float, Estimate]], *, prior: tuple[float, float] = (2.0, 4.0)) -> Correction:
    """Return what past lists tell about the next estimate.

    An error is the realised value less the estimate, in half-widths of its own interval on that side. Their mean moves
    the next estimate; what is left of them beyond the expected size makes its interval wider, never narrower.

    Args:
        errors: realised value and what had been estimated, uncorrected.
        prior: errors of zero that the mean begins with, and errors of the expected size that the width begins with.
    """
    found = [_off(value, one) for value, one in errors]
    shift = sum(found) / (len(found) + prior[0])
    expected = 1 / 1.645**2  # mean square of a normal error in half-widths of its 90 % interval
    squares = sum((one - shift) ** 2 for one in found)
    ratio = (prior[1] * expected + squares) / ((prior[1] + len(found)) * expected)
    return Correction(shift, max(1.0, float(np.sqrt(ratio))))


def corrected(name: str, one: Estimate, by: Correction) -> Estimate:
    """Return an estimate of the figure ``name`` moved and widened by what past lists told."""
    up, down = one.high - one.value, one.value - one.low
    most = _LARGEST.get(name, np.inf)
    value = float(np.clip(one.value + by.shift * (up if by.shift > 0 else down), 0, most))
    low, high = np.clip([value - by.wider * down, value + by.wider * up], 0, most)
    return Estimate(value, float(low), float(high))


def _off(value: float, one: Estimate) -> float:
    half = one.high - one.value if value > one.value else one.value - one.low
    return (value - one.value) / half if half > 0 else 0.0


def prior_shift(scored: ScoredRows, known: Recalibration, prior: float, *, sd: float, steps: int = 50) -> float:
    """Return by how much the log-odds of the share of positives have moved, judged by the probabilities alone.

    Expectation maximisation (Saerens, Latinne and Decaestecker, 2002) with a normal prior of deviation ``sd`` around no
    shift: with few or weakly separated rows it stays near 0. It holds only if the rows of each class look as before.

    Args:
        scored: rows by probability.
        known: how far the probabilities are off.
        prior: share of positives that they are calibrated for, in (0, 1).
        sd: of the shift before looking, above 0.
        steps: at most.
    """
    ratio = np.exp(np.clip(known.mean[0] + known.mean[1] * log_odds(scored.p) - log_odds(prior), -30, 30))
    base, n, shift = float(log_odds(prior)), scored.total, 0.0
    for _ in range(steps):
        share = expit(base + shift)
        taken = share * ratio / (share * ratio + 1 - share)
        expected = float(scored.rows @ taken)
        # M step: the mode of a binomial likelihood of ``expected`` of n positives under the normal prior.
        step = _mode(expected, n, base, shift, sd)
        done, shift = abs(step - shift) < 1e-8, step
        if done:
            break
    return shift


def _mode(expected: float, n: float, base: float, start: float, sd: float) -> float:
    shift = start
    for _ in range(30):
        share = float(expit(base + shift))
        step = (expected - n * share - shift / sd**2) / (n * share * (1 - share) + 1 / sd**2)
        shift += float(np.clip(step, -1, 1))
        if abs(step) < 1e-9:
            break
    return shift
