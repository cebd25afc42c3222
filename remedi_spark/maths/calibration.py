"""Whether a score can be read as a probability: errors, and the reliability table behind the plot.

Labels are 0 or 1, shape (n,); probabilities are in [0, 1], shape (n,); weights, shape (n,), are 0 or more. What maps
scores to probabilities is in ``calibrators``.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from remedi_spark.maths.checks import FloatArray, at_least, binary_labels, probabilities, row_weights
from remedi_spark.maths.tied_scores import ECE_BINS, NAN, TiedScores

SMALLEST_PROBABILITY = 1e-15
"""Log-loss takes probabilities no nearer to 0 or 1 than this, so that one certain mistake does not make it infinite."""


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


def brier(labels: npt.ArrayLike, probs: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> float:
    """Weighted mean of (p − y)², in [0, 1] (Brier, 1950); nan without rows."""
    labels = binary_labels(labels)
    probs = probabilities("probs", probs, len(labels))
    return _mean((probs - labels) ** 2, row_weights(weights, len(labels)))


def log_loss(labels: npt.ArrayLike, probs: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> float:
    """Weighted mean of −ln p of the label that came true, 0 or more; nan without rows."""
    labels = binary_labels(labels)
    probs = probabilities("probs", probs, len(labels))
    of_truth = np.where(labels == 1, probs, 1 - probs)
    return _mean(-np.log(np.maximum(of_truth, SMALLEST_PROBABILITY)), row_weights(weights, len(labels)))


def expected_calibration_error(
    labels: npt.ArrayLike, probs: npt.ArrayLike, bins: int = ECE_BINS, weights: npt.ArrayLike | None = None
) -> float:
    """Mean gap between predicted and observed share over bins, weighted by their rows; nan without rows.

    The bins hold equal mass, because at a prior below one in a hundred nearly all rows fall into the first of ten bins
    of equal width (Nixon et al., 2019, "Measuring Calibration in Deep Learning"). Ties stay in one bin.
    """
    at_least("bins", bins, 1)
    return _sorted(labels, probs, weights).ece(bins)


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


def _mean(losses: FloatArray, weights: FloatArray) -> float:
    total = float(weights.sum())
    return float(losses @ weights) / total if total else NAN
