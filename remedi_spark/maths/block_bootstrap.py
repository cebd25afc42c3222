"""Bootstrap intervals from counts: by bin of the score, and by block of owners.

Owners are dealt to some hundred blocks by hash, and blocks are drawn instead of owners. The blocks are samples of the
owners alike, so that their sums vary as sums over owners do; a resample costs one product of small matrices, however
many rows there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from remedi_spark.maths.checks import FloatArray
from remedi_spark.maths.tied_scores import TiedScores

BLOCKS = 200
"""The standard error of an interval's width is then some 5 %, as it is for as many resamples."""


@dataclass(frozen=True, eq=False)
class BlockCounts:
    """Rows by bin of the score, best first, and by block of owners.

    ``scores`` (bins,) fall; ``positives`` and ``rows`` have shape (bins, blocks).
    """

    scores: FloatArray
    positives: FloatArray
    rows: FloatArray

    @cached_property
    def whole(self) -> TiedScores:
        """Totals of all blocks."""
        return self._tied(np.ones(self.rows.shape[1]))

    def resamples(self, draws: FloatArray, metric: str, share: float) -> FloatArray:
        """Return a metric less that of all blocks together, by resample.

        Args:
            draws: how often each block is drawn, (resamples, blocks).
            metric: one of ``RANKING_METRICS``.
            share: of the rows that the budget allows.
        """
        drawn = [_of(self._tied(times), metric, share) for times in draws]
        return np.array(drawn) - _of(self.whole, metric, share)

    def _tied(self, times: FloatArray) -> TiedScores:
        return TiedScores(self.scores, self.positives @ times, self.rows @ times)


def draw_blocks(blocks: int, resamples: int, seed: int = 0) -> FloatArray:
    """Return how often each block is drawn, with replacement, shape (resamples, blocks)."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(blocks, np.full(blocks, 1 / blocks), size=resamples).astype(np.float64)


def block_intervals(
    counts: BlockCounts, values: dict[str, float], share: float, metrics: Sequence[str], resamples: int
) -> dict[str, tuple[float, float]]:
    """Return the 95 % percentile interval around each value: bins are coarse, so that only differences are theirs."""
    draws = draw_blocks(counts.rows.shape[1], resamples)
    found = {name: counts.resamples(draws, name, share) for name in metrics}
    return {name: around(values[name], differences) for name, differences in found.items()}


def around(value: float, differences: FloatArray) -> tuple[float, float]:
    """Return a value plus the 2.5 % and the 97.5 % quantile of the differences; nan where none is known."""
    known = differences[np.isfinite(differences)]
    if not len(known):
        return np.nan, np.nan
    low, high = value + np.quantile(known, [0.025, 0.975])
    return float(low), float(high)


def _of(tied: TiedScores, metric: str, share: float) -> float:
    return tied.metric(metric, share * tied.total_rows)
