"""Whether a score can be read as a probability: the reliability table behind the plot.

Labels are 0 or 1, shape (n,); probabilities are in [0, 1], shape (n,); weights, shape (n,), are 0 or more. What maps
scores to probabilities is in ``calibrators``.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from remedi_spark.maths.checks import FloatArray, at_least, binary_labels, probabilities, row_weights
from remedi_spark.maths.tied_scores import ECE_BINS, TiedScores


@dataclass(frozen=True, eq=False)
class ReliabilityTable:
    """Bins of equal mass from the lowest probability to the highest; empty bins are left out, arrays are (b,)."""

    predicted: FloatArray
    """Mean probability of the bin."""
    observed: FloatArray
    """Share of positives in the bin."""
    rows: FloatArray
    """Rows of the bin."""
    lower: FloatArray
    """Lower end of the Wilson interval of ``observed``."""
    upper: FloatArray
    """Upper end of the Wilson interval of ``observed``."""


def reliability_table(
    labels: npt.ArrayLike,
    probs: npt.ArrayLike,
    bins: int = ECE_BINS,
    level: float = 0.95,
    weights: npt.ArrayLike | None = None,
) -> ReliabilityTable:
    """Predicted against observed share in bins of equal mass, with Wilson intervals (Wilson, 1927) of ``level``."""
    at_least("bins", bins, 1)
    tied = _sorted(labels, probs, weights)
    if not tied.total_rows:
        empty = np.zeros(0)
        return ReliabilityTable(empty, empty, empty, empty, empty)
    predicted, positives, rows = (total[::-1] for total in tied.in_equal_mass_bins(bins))
    filled = rows > 0
    predicted, positives, rows = predicted[filled], positives[filled], rows[filled]
    lower, upper = wilson_interval(positives, rows, level)
    return ReliabilityTable(predicted / rows, positives / rows, rows, lower, upper)


def wilson_interval(positives: FloatArray, rows: FloatArray, level: float = 0.95) -> tuple[FloatArray, FloatArray]:
    """Wilson score interval of a share, elementwise, for ``rows`` above 0 (Wilson, 1927)."""
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = positives / rows
    centre = share + z * z / (2 * rows)
    half = z * np.sqrt(share * (1 - share) / rows + (z / (2 * rows)) ** 2)
    scale = 1 + z * z / rows
    return np.maximum((centre - half) / scale, 0), np.minimum((centre + half) / scale, 1)


def _sorted(labels: npt.ArrayLike, probs: npt.ArrayLike, weights: npt.ArrayLike | None) -> TiedScores:
    labels = binary_labels(labels)
    probs = probabilities("probs", probs, len(labels))
    return TiedScores.of(labels, probs, None if weights is None else row_weights(weights, len(labels)))
