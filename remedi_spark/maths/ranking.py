"""How well scores put positives first: metrics of a budget of K rows, and of the whole order.

Labels are 0 or 1, shape (n,); scores are any finite numbers, shape (n,), higher is better; weights, shape (n,), are 0
or more. Rows with equal scores have no order of their own, so ties count pro rata: with the rows above a tie ``a``,
TP@K = positives above + (K − a) · positives tied / rows tied. Without positives (for AUC and KS also without
negatives) a metric that divides by them is nan. K above the number of rows is clipped to it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from remedi_spark.errors import InputError
from remedi_spark.maths.checks import FloatArray, at_least, binary_labels, finite_vector, row_weights
from remedi_spark.maths.tied_scores import RANKING_METRICS, TiedScores


def lift_at_k(labels: npt.ArrayLike, scores: npt.ArrayLike, k: float, weights: npt.ArrayLike | None = None) -> float:
    """Precision at ``k`` over the share of positives in all rows: 1 is contact at random; nan without positives.

    >>> lift_at_k([1, 0, 0, 0], [0.9, 0.8, 0.7, 0.1], k=1)
    4.0
    """
    return _tied(labels, scores, weights).lift_at(_budget(k))


def average_precision(labels: npt.ArrayLike, scores: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> float:
    """AP = Σ (R_n − R_{n−1}) P_n over distinct scores, in [0, 1], not interpolated; nan without positives.

    >>> round(average_precision([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1]), 4)  # 1/2 * 1 + 1/2 * 2/3
    0.8333
    """
    return _tied(labels, scores, weights).average_precision()


def expected_average_precision(
    scores: npt.ArrayLike, probabilities: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> float:
    """Average precision that a ranking has on average if labels are drawn with these probabilities, one by one.

    Precision where row i stands, if i is positive, is (1 + sum of the p before it) / place. The mean of the sum over
    positives is divided by their mean number, which is the mean of the quotient where positives are many.

    Args:
        scores: what ranks, finite, shape (n,); of tied rows the last place counts for all.
        probabilities: that a row is positive, in [0, 1], shape (n,); some above 0.
        weights: how many rows each stands for, shape (n,), or none: one each.
    """
    p = np.asarray(probabilities, dtype=np.float64)
    w = np.ones(len(p)) if weights is None else finite_vector("weights", weights, len(p))
    falling = -finite_vector("scores", scores, len(p))
    order = np.argsort(falling, kind="stable")
    falling, p, w = falling[order], p[order], w[order]
    last = np.searchsorted(falling, falling, side="right") - 1
    precision = (1 + np.cumsum(w * p)[last] - p) / np.cumsum(w)[last]
    return float((w * p) @ precision / (w @ p))


def ranking_metrics(
    labels: npt.ArrayLike, scores: npt.ArrayLike, k: float, weights: npt.ArrayLike | None = None
) -> dict[str, float]:
    """Return every metric of ``RANKING_METRICS`` from one sort.

    ``brier`` and ``ece`` (10 bins of equal mass) take scores as probabilities, and are nan when one is outside [0, 1].

    Args:
        labels: 0 or 1, shape (n,).
        scores: shape (n,).
        k: how many rows the budget allows, above 0; in units of weight when weights are given.
        weights: shape (n,), or none.
    """
    tied = _tied(labels, scores, weights)
    k = _budget(k)
    return {name: tied.metric(name, k) for name in RANKING_METRICS}


def gains_curve(
    labels: npt.ArrayLike, scores: npt.ArrayLike, points: int = 200, weights: npt.ArrayLike | None = None
) -> tuple[FloatArray, FloatArray]:
    """Recall against the share of rows contacted, at ``points`` shares evenly from 0 to 1; ties pro rata.

    Returns:
        share and recall, each of shape (points,); recall is nan throughout without positives.
    """
    at_least("points", points, 2)
    share = np.linspace(0, 1, points)
    return share, _tied(labels, scores, weights).gains(share)


def _tied(labels: npt.ArrayLike, scores: npt.ArrayLike, weights: npt.ArrayLike | None) -> TiedScores:
    labels = binary_labels(labels)
    scores = finite_vector("scores", scores, len(labels))
    return TiedScores.of(labels, scores, None if weights is None else row_weights(weights, len(labels)))


def _budget(k: float) -> float:
    if not k > 0:
        raise InputError(f"k: found {k}, expected the number of rows that the budget allows, above 0")
    return float(k)
