"""Errors of a continuous prediction, overall and where training labels were rare, and its worth as a ranking.

Labels and predictions are finite, shape (n,); weights, shape (n,), are 0 or more. Without rows every metric is nan.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from remedi_spark.errors import InputError
from remedi_spark.maths.checks import FloatArray, finite_vector, row_weights
from remedi_spark.maths.tied_scores import NAN, TiedScores

SMALLEST_ERROR = 1e-6
"""Floor of an absolute error inside the geometric mean: one exact hit would make the mean zero."""
SHOTS = ("all", "many", "medium", "few", "zero")
ZEROS = "zeros"
"""Labels of exactly 0, where they are a group of their own; ``zero`` is zero-shot: no training row is like it."""


def mae(labels: npt.ArrayLike, predictions: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> float:
    """Mean absolute error, in the label's unit."""
    errors, w = _errors(labels, predictions, weights)
    return _mean(errors, w)


def mse(labels: npt.ArrayLike, predictions: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> float:
    """Mean squared error, in the square of the label's unit."""
    errors, w = _errors(labels, predictions, weights)
    return _mean(errors**2, w)


def rmse(labels: npt.ArrayLike, predictions: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> float:
    """Root of the mean squared error, in the label's unit."""
    return float(np.sqrt(mse(labels, predictions, weights)))


def geometric_mean_absolute_error(
    labels: npt.ArrayLike,
    predictions: npt.ArrayLike,
    weights: npt.ArrayLike | None = None,
    floor: float = SMALLEST_ERROR,
) -> float:
    """exp(mean ln max(|error|, floor)), in the label's unit (GM of arXiv 2102.09554, section 4): even over rows."""
    if not floor > 0:
        raise InputError(f"floor: found {floor}, expected a smallest error above 0")
    errors, w = _errors(labels, predictions, weights)
    return float(np.exp(_mean(np.log(np.maximum(errors, floor)), w)))


def spearman(labels: npt.ArrayLike, predictions: npt.ArrayLike) -> float:
    """Rank correlation in [−1, 1], ties at their mean rank; nan when either side is constant."""
    y = finite_vector("labels", labels)
    p = finite_vector("predictions", predictions, len(y))
    if not len(y) or np.ptp(y) == 0 or np.ptp(p) == 0:
        return NAN
    return float(np.corrcoef(rankdata(y), rankdata(p))[0, 1])


def value_at_k(
    labels: npt.ArrayLike, predictions: npt.ArrayLike, k: float, weights: npt.ArrayLike | None = None
) -> float:
    """Share of the labels' total that the best ``k`` rows by prediction hold; ties at the edge count pro rata.

    nan when the total is not above 0. ``k`` above the number of rows is clipped to it.
    """
    if not k > 0:
        raise InputError(f"k: found {k}, expected the number of rows that the budget allows, above 0")
    y = finite_vector("labels", labels)
    p = finite_vector("predictions", predictions, len(y))
    tied = TiedScores.of(y, p, None if weights is None else row_weights(weights, len(y)))
    return tied.recall_at(k) if tied.total_positives > 0 else NAN


def value_curve(labels: npt.ArrayLike, predictions: npt.ArrayLike, points: int) -> tuple[FloatArray, FloatArray]:
    """Share of the labels' total against the share of rows contacted, at ``points`` shares evenly from 0 to 1.

    Returns:
        share and value, each of shape (points,); value is nan throughout where a label is below 0 (more than the whole
        could be reached then) or the total is 0.
    """
    y = finite_vector("labels", labels)
    share = np.linspace(0, 1, points)
    if not len(y) or y.min() < 0:
        return share, np.full(points, NAN)
    return share, TiedScores.of(y, finite_vector("predictions", predictions, len(y))).gains(share)


def shot_metrics(
    labels: npt.ArrayLike,
    predictions: npt.ArrayLike,
    *,
    edges: npt.ArrayLike,
    train_counts: npt.ArrayLike,
    many: float = 100,
    few: float = 20,
    zeros_apart: bool = False,
) -> dict[str, dict[str, float]]:
    """Errors by how many training rows the label's bin had (arXiv 2102.09554, section 4).

    Args:
        labels: shape (n,).
        predictions: shape (n,).
        edges: rising edges of the label bins, shape (b + 1,); the last bin holds its upper edge.
        train_counts: training rows in each bin, shape (b,).
        many: a bin with more rows is many-shot.
        few: a bin with fewer rows is few-shot; without any, or outside the edges, zero-shot; else medium.
        zeros_apart: measure the labels of exactly 0 as one more group, ``ZEROS``; they stay in their bin's too.

    Returns:
        For each of ``SHOTS`` (and ``ZEROS``): rows, mae, mse, rmse and gmae (geometric mean of the absolute error).
    """
    y = finite_vector("labels", labels)
    p = finite_vector("predictions", predictions, len(y))
    if few > many:
        raise InputError(f"few: found {few:g}, expected at most many ({many:g})")
    counts = _rows_like(y, finite_vector("edges", edges), finite_vector("train_counts", train_counts))
    chosen = {
        "all": np.ones(len(y), dtype=bool),
        "many": counts > many,
        "medium": (counts >= few) & (counts <= many) & (counts > 0),
        "few": (counts > 0) & (counts < few),
        "zero": counts == 0,
        **({ZEROS: y == 0} if zeros_apart else {}),
    }
    return {shot: _error_metrics(y[rows], p[rows]) for shot, rows in chosen.items()}


def _rows_like(labels: FloatArray, edges: FloatArray, train_counts: FloatArray) -> FloatArray:
    """Training rows in the bin of each label, shape (n,); 0 outside the edges."""
    if len(edges) != len(train_counts) + 1 or len(edges) < 2 or np.any(np.diff(edges) <= 0):
        raise InputError(
            f"edges: found {len(edges)} for {len(train_counts)} train_counts, expected one more, and rising"
        )
    bin_of = np.clip(np.searchsorted(edges, labels, side="right") - 1, 0, len(train_counts) - 1)
    inside = (labels >= edges[0]) & (labels <= edges[-1])
    return np.where(inside, train_counts[bin_of], 0.0)


def _error_metrics(labels: FloatArray, predictions: FloatArray) -> dict[str, float]:
    return {
        "rows": float(len(labels)),
        "mae": mae(labels, predictions),
        "mse": mse(labels, predictions),
        "rmse": rmse(labels, predictions),
        "gmae": geometric_mean_absolute_error(labels, predictions),
    }


def _errors(
    labels: npt.ArrayLike, predictions: npt.ArrayLike, weights: npt.ArrayLike | None
) -> tuple[FloatArray, FloatArray]:
    y = finite_vector("labels", labels)
    return np.abs(finite_vector("predictions", predictions, len(y)) - y), row_weights(weights, len(y))


def _mean(values: FloatArray, weights: FloatArray) -> float:
    total = float(weights.sum())
    return float(values @ weights) / total if total else NAN
