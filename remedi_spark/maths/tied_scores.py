"""Rows in falling order of score, added up over ties: the one sort that every ranking metric is read from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from remedi_spark.errors import InputError, nearest
from remedi_spark.maths.checks import FloatArray, IntArray

NAN = float("nan")
ECE_BINS = 10


@dataclass(frozen=True, eq=False)
class TiedScores:
    """Totals for each distinct score, best first; g distinct scores.

    With weights, a "row" is a unit of weight, and so is the k of the metrics. Groups without rows are allowed: they
    appear when a bootstrap draws no row of a group.
    """

    scores: FloatArray
    """Falling, shape (g,)."""
    positives: FloatArray
    """Positive rows (or the total of another target) at that score, shape (g,)."""
    rows: FloatArray
    """Rows at that score, shape (g,)."""

    @classmethod
    def of(cls, targets: FloatArray, scores: FloatArray, weights: FloatArray | None = None) -> TiedScores:
        """Sort the rows once, shapes (n,), and add up targets and weights over equal scores."""
        order, starts = falling_order(scores)
        targets = targets[order] if weights is None else (targets * weights)[order]
        if weights is None:
            rows = np.diff(starts, append=len(order)).astype(np.float64)
        else:
            rows = sums_between(weights[order], starts)
        return cls(scores[order[starts]], sums_between(targets, starts), rows)

    @cached_property
    def row_ends(self) -> FloatArray:
        """Rows down to and including each group, shape (g,)."""
        return np.cumsum(self.rows)

    @cached_property
    def positive_ends(self) -> FloatArray:
        """Positives down to and including each group, shape (g,)."""
        return np.cumsum(self.positives)

    @property
    def total_rows(self) -> float:
        """All rows."""
        return float(self.row_ends[-1]) if len(self.rows) else 0.0

    @property
    def total_positives(self) -> float:
        """All positives."""
        return float(self.positive_ends[-1]) if len(self.rows) else 0.0

    @property
    def total_negatives(self) -> float:
        """All negatives; never below zero from rounding."""
        return max(self.total_rows - self.total_positives, 0.0)

    def positives_in_top(self, k: float) -> float:
        """Positives in the first ``k`` rows; the group at the edge counts pro rata."""
        k = min(k, self.total_rows)
        group = int(np.searchsorted(self.row_ends, k))
        if group == len(self.rows) or self.rows[group] == 0:
            return float(self.positive_ends[min(group, len(self.rows) - 1)]) if len(self.rows) else 0.0
        left_over = (self.row_ends[group] - k) / self.rows[group]
        return float(self.positive_ends[group] - left_over * self.positives[group])

    def gains(self, share: FloatArray) -> FloatArray:
        """Recall in the best ``share`` of the rows, shapes (n,); ties pro rata, nan without positives."""
        if not self.total_positives:
            return np.full(len(share), NAN)
        rows = np.concatenate([[0.0], self.row_ends])
        positives = np.concatenate([[0.0], self.positive_ends])
        reached: FloatArray = np.interp(share * self.total_rows, rows, positives)
        return reached / self.total_positives

    def precision_at(self, k: float) -> float:
        """P@K = TP@K / K, with K clipped to the number of rows."""
        return _ratio(self.positives_in_top(k), min(k, self.total_rows))

    def recall_at(self, k: float) -> float:
        """R@K = TP@K / positives."""
        return _ratio(self.positives_in_top(k), self.total_positives)

    def lift_at(self, k: float) -> float:
        """P@K over the share of positives in all rows."""
        return _ratio(self.precision_at(k), _ratio(self.total_positives, self.total_rows))

    def ndcg_at(self, k: float) -> float:
        """NDCG@K with binary gains and log2 discounts; tied rows share their mean gain (McSherry and Najork, 2008)."""
        k = min(k, self.total_rows)
        reached = int(np.searchsorted(self.row_ends, k)) + 1
        ends = np.minimum(self.row_ends[:reached], k)
        mean_gain = _safe_divide(self.positives[:reached], self.rows[:reached])
        gained = mean_gain @ np.diff(_discount_to(ends), prepend=0.0)
        return _ratio(float(gained), float(_discount_to(np.array([min(k, self.total_positives)]))[0]))

    def average_precision(self) -> float:
        """AP = Σ (R_n − R_{n−1}) P_n over distinct scores."""
        precision = _safe_divide(self.positive_ends, self.row_ends)
        return _ratio(float(self.positives @ precision), self.total_positives)

    def roc_auc(self) -> float:
        """Share of (positive, negative) pairs in the right order; a tied pair counts one half."""
        negatives = self.rows - self.positives
        ordered = negatives @ (self.positive_ends - self.positives / 2)
        return _ratio(float(ordered), self.total_positives * self.total_negatives)

    def ks(self) -> float:
        """Kolmogorov-Smirnov: the largest gap between the score distributions of positives and negatives."""
        if not self.total_positives or not self.total_negatives:
            return NAN
        false_share = (self.row_ends - self.positive_ends) / self.total_negatives
        return float(np.abs(self.positive_ends / self.total_positives - false_share).max())

    def brier(self) -> float:
        """Mean of (p − y)², with scores as probabilities; nan when a score is outside [0, 1]."""
        if not self._are_probabilities():
            return NAN
        p = self.scores
        return _ratio(float(np.sum(self.rows * p * p + self.positives * (1 - 2 * p))), self.total_rows)

    def ece(self, bins: int = ECE_BINS) -> float:
        """Expected calibration error over ``bins`` bins of equal mass; nan when a score is outside [0, 1].

        Of equal mass, because at a prior below one in a hundred nearly all rows fall into the first of ten bins of
        equal width (Nixon et al., 2019, "Measuring Calibration in Deep Learning").
        """
        if not self._are_probabilities() or not self.total_rows:
            return NAN
        predicted, observed, _ = self.in_equal_mass_bins(bins)
        return float(np.abs(predicted - observed).sum() / self.total_rows)

    def in_equal_mass_bins(self, bins: int) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Sums of scores, positives and rows of each bin, best bin first, shapes (bins,).

        A group of ties goes whole into the bin that holds its middle row, so a bin may stay empty.
        """
        middle = (self.row_ends - self.rows / 2) / self.total_rows
        bin_of = np.minimum((middle * bins).astype(np.int64), bins - 1)

        def total(values: FloatArray) -> FloatArray:
            return np.bincount(bin_of, weights=values, minlength=bins).astype(np.float64)

        return total(self.scores * self.rows), total(self.positives), total(self.rows)

    def metric(self, name: str, k: float) -> float:
        """Return the metric called ``name``, one of ``RANKING_METRICS``."""
        return _METRICS[name](self, k)

    def _are_probabilities(self) -> bool:
        return bool(len(self.scores)) and bool(self.scores[0] <= 1 and self.scores[-1] >= 0)


_METRICS: dict[str, Callable[[TiedScores, float], float]] = {
    "ap": lambda tied, k: tied.average_precision(),
    "auc": lambda tied, k: tied.roc_auc(),
    "recall_at_k": TiedScores.recall_at,
    "precision_at_k": TiedScores.precision_at,
    "lift_at_k": TiedScores.lift_at,
    "ndcg_at_k": TiedScores.ndcg_at,
    "brier": lambda tied, k: tied.brier(),
    "ece": lambda tied, k: tied.ece(),
    "ks": lambda tied, k: tied.ks(),
}
RANKING_METRICS = tuple(_METRICS)
"""Names of the metrics in ``metrics.json``, in its order."""


def check_metric(name: str) -> None:
    """Raise an ``InputError`` unless ``name`` is one of ``RANKING_METRICS``."""
    if name not in _METRICS:
        raise InputError(
            f"metric: found {name!r}, expected one of {', '.join(RANKING_METRICS)}{nearest(name, RANKING_METRICS)}"
        )


def falling_order(scores: FloatArray) -> tuple[IntArray, IntArray]:
    """Return the rows in falling order of score, shape (n,), and where each run of ties starts, shape (g,)."""
    order = np.argsort(scores)[::-1]
    ordered = scores[order]
    changed = np.ones(len(ordered), dtype=bool)
    changed[1:] = ordered[1:] != ordered[:-1]
    return order, np.flatnonzero(changed)


def sums_between(values: FloatArray, starts: IntArray) -> FloatArray:
    """Sum ``values`` from each start to the next; no starts give no sums."""
    return np.add.reduceat(values, starts) if len(starts) else np.zeros(0)


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else NAN


def _safe_divide(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)


def _discount_to(positions: FloatArray) -> FloatArray:
    """Σ 1/log2(i + 1) over the first ``positions`` ranks i; linear between whole ranks, for weighted rows."""
    if not len(positions):
        return np.zeros(0)
    # Powers of two let the resamples of a bootstrap, each with a slightly different k, share one table.
    table = _discounts(1 << (int(positions.max()) + 1).bit_length())
    whole = positions.astype(np.int64)
    return table[whole] + (positions - whole) * (table[whole + 1] - table[whole])


@lru_cache(maxsize=1)
def _discounts(ranks: int) -> FloatArray:
    return np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(2, ranks + 2)))])
