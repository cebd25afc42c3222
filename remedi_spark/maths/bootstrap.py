"""Bootstrap intervals of ranking metrics that sort once, and cost per resample what the positives cost.

The order of the rows never changes between resamples, only how often each row counts. Neighbouring rows without
positives can moreover be drawn as one, because a metric that only asks where the positives stand cannot tell them
apart: AP, AUC, KS, NDCG and the metrics at K come out exactly as if every row had been drawn. Only Brier and ECE see
the scores inside such a run as one; the runs are at most a ten-thousandth of the rows long.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from remedi_spark.errors import InputError
from remedi_spark.maths.checks import FloatArray, IntArray, at_least, binary_labels, finite_vector
from remedi_spark.maths.tied_scores import (
    RANKING_METRICS,
    TiedScores,
    check_metric,
    falling_order,
    sums_between,
)

MAX_RUNS = 10_000


class Difference(NamedTuple):
    """A metric's difference between two models on the same rows, with its percentile interval."""

    value: float
    low: float
    high: float


def bootstrap_intervals(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    k: float,
    *,
    metrics: Sequence[str] = RANKING_METRICS,
    n_resamples: int = 200,
    level: float = 0.95,
    seed: int = 0,
    groups: npt.ArrayLike | None = None,
) -> dict[str, tuple[float, float]]:
    """Percentile bootstrap intervals (Efron, 1979) of ranking metrics.

    Args:
        labels: 0 or 1, shape (n,).
        scores: shape (n,).
        k: the budget in rows; a resample with more or fewer rows (groups of several rows) keeps the share k / n.
        metrics: names of ``RANKING_METRICS``.
        n_resamples: at least 2.
        level: coverage, above 0 and below 1.
        seed: the same seed gives the same intervals.
        groups: owner of each row, shape (n,); all rows of an owner are drawn together. None: rows are independent.

    Returns:
        (low, high) for each metric; nan where the metric is not defined in any resample.
    """
    _check(k, n_resamples, level, metrics)
    labels = binary_labels(labels)
    scores = finite_vector("scores", scores, len(labels))
    if not len(labels):
        return dict.fromkeys(metrics, (np.nan, np.nan))
    runs = _Runs.of(labels, scores)
    rng = np.random.default_rng(seed)
    draw = runs.row_sampler(rng) if groups is None else runs.group_sampler(rng, _codes(groups, len(labels)))
    share = k / len(labels)
    values = np.array([_measure(draw(), metrics, share) for _ in range(n_resamples)])
    return {name: _interval(values[:, column], level) for column, name in enumerate(metrics)}


def paired_bootstrap(
    labels: npt.ArrayLike,
    scores_a: npt.ArrayLike,
    scores_b: npt.ArrayLike,
    k: float,
    metric: str,
    *,
    n_resamples: int = 200,
    level: float = 0.95,
    seed: int = 0,
    groups: npt.ArrayLike | None = None,
) -> Difference:
    """``metric`` of model a minus that of model b, both measured on the same resampled rows.

    Much narrower than two separate intervals, because what makes a resample easy is easy for both. Arguments as in
    ``bootstrap_intervals``.
    """
    _check(k, n_resamples, level, [metric])
    labels = binary_labels(labels)
    pair = [finite_vector(name, s, len(labels)) for name, s in (("scores_a", scores_a), ("scores_b", scores_b))]
    if not len(labels):
        return Difference(np.nan, np.nan, np.nan)
    share = k / len(labels)
    value = [TiedScores.of(labels, scores).metric(metric, k) for scores in pair]
    codes = np.arange(len(labels)) if groups is None else _codes(groups, len(labels))
    models = [_Runs.of(labels, scores).counter(codes) for scores in pair]
    drawn = _draws(np.random.default_rng(seed), codes, n_resamples)
    values = np.array([[_measure(model(times), [metric], share)[0] for model in models] for times in drawn])
    return Difference(value[0] - value[1], *_interval(values[:, 0] - values[:, 1], level))


@dataclass(frozen=True, eq=False)
class _Runs:
    """The order of the rows, cut into runs: each run of ties that has a positive, and stretches that have none."""

    order: IntArray
    starts: IntArray
    labels: FloatArray
    """In falling order of score, shape (n,)."""
    tied: TiedScores
    """Totals of each run; its score is the mean over its rows."""

    @classmethod
    def of(cls, labels: FloatArray, scores: FloatArray) -> _Runs:
        order, starts = falling_order(scores)
        labels = labels[order]
        without = sums_between(labels, starts) == 0
        stretch = starts // max(len(labels) // MAX_RUNS, 1)
        continues = np.zeros(len(starts), dtype=bool)
        continues[1:] = without[1:] & without[:-1] & (stretch[1:] == stretch[:-1])
        starts = starts[~continues]
        rows = np.diff(starts, append=len(labels)).astype(np.float64)
        tied = TiedScores(sums_between(scores[order], starts) / rows, sums_between(labels, starts), rows)
        return cls(order, starts, labels, tied)

    def row_sampler(self, rng: np.random.Generator) -> Callable[[], TiedScores]:
        """Draw n rows with replacement: how many fall into each run is multinomial, positives apart."""
        n, runs = len(self.order), len(self.starts)
        shares = np.concatenate([self.tied.positives, self.tied.rows - self.tied.positives]) / n

        def draw() -> TiedScores:
            counts = rng.multinomial(n, shares).astype(np.float64)
            return TiedScores(self.tied.scores, counts[:runs], counts[:runs] + counts[runs:])

        return draw

    def group_sampler(self, rng: np.random.Generator, codes: IntArray) -> Callable[[], TiedScores]:
        """Draw as many groups as there are, with replacement; codes number the groups 0…G−1, shape (n,)."""
        count, draws = self.counter(codes), _draws(rng, codes, None)
        return lambda: count(next(draws))

    def counter(self, codes: IntArray) -> Callable[[FloatArray], TiedScores]:
        """Return what turns "times each group was drawn", shape (G,), into totals of each run."""
        ordered = codes[self.order]
        at = np.flatnonzero(self.labels)
        run_of = np.searchsorted(self.starts, at, side="right") - 1
        positive = ordered[at]

        def count(times: FloatArray) -> TiedScores:
            positives = np.bincount(run_of, weights=times[positive], minlength=len(self.starts))
            return TiedScores(self.tied.scores, positives.astype(np.float64), sums_between(times[ordered], self.starts))

        return count


def _draws(rng: np.random.Generator, codes: IntArray, resamples: int | None) -> Iterator[FloatArray]:
    """Yield how often each group was drawn, shape (G,); without end when ``resamples`` is None."""
    groups = int(codes.max()) + 1
    made = 0
    while resamples is None or made < resamples:
        yield np.bincount(rng.integers(0, groups, groups), minlength=groups).astype(np.float64)
        made += 1


def _measure(tied: TiedScores, metrics: Sequence[str], share: float) -> list[float]:
    return [tied.metric(name, share * tied.total_rows) for name in metrics]


def _interval(values: FloatArray, level: float) -> tuple[float, float]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN slice", RuntimeWarning)
        low, high = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _codes(groups: npt.ArrayLike, rows: int) -> IntArray:
    named = np.asarray(groups)
    if named.shape != (rows,):
        raise InputError(f"groups: found shape {named.shape}, expected one group a row, shape ({rows},)")
    # In an order of their own: the same resamples are drawn however the rows arrive.
    codes, _ = pd.factorize(named, sort=True, use_na_sentinel=False)
    return codes.astype(np.int64)


def _check(k: float, n_resamples: int, level: float, metrics: Sequence[str]) -> None:
    if not k > 0:
        raise InputError(f"k: found {k}, expected the number of rows that the budget allows, above 0")
    at_least("n_resamples", n_resamples, 2)
    if not 0 < level < 1:
        raise InputError(f"level: found {level}, expected a coverage between 0 and 1, such as 0.95")
    for name in metrics:
        check_metric(name)
