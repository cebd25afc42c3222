"""The lift to expect at a budget, from out-of-fold scores of the support."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from remedi_spark.maths.ranking import lift_at_k

Array = npt.NDArray[np.float64]


def expected_lift(
    y: Array, margins: Array, weight: Array, budget: float, seed: int, *, resamples: int = 500, level: float = 0.95
) -> tuple[float, float, float]:
    """Return lift at the best ``budget`` share of the population, and its percentile interval.

    Rows of either class are resampled apart: the number of buyers in the support was chosen, not drawn.
    """
    rng = np.random.default_rng(seed)
    positive, negative = np.flatnonzero(y > 0), np.flatnonzero(y == 0)

    def lift(rows: npt.NDArray[np.int64]) -> float:
        return lift_at_k(y[rows], margins[rows], budget * float(weight[rows].sum()), weight[rows])

    drawn = [
        lift(np.concatenate([rng.choice(part, len(part)) for part in (positive, negative)])) for _ in range(resamples)
    ]
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return lift(np.arange(len(y))), float(low), float(high)
