"""Label distribution smoothing: row weights that make rare continuous labels count (arXiv 2102.09554, section 3.1).

A cluster counts the rows of each bin, the driver turns the counts into one weight a bin, and the cluster looks up the
weight of each row again.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Self, get_args

import numpy as np
import numpy.typing as npt
from scipy.ndimage import convolve1d

from remedi_spark.errors import InputError, nearest
from remedi_spark.maths.checks import FloatArray, IntArray, at_least, finite_vector, row_weights
from remedi_spark.maths.kernels import Kernel, kernel_window

Reweight = Literal["sqrt_inv", "inverse", "none"]

BINS = 100
FEWEST, MOST = 5.0, 1000.0
"""``inverse`` counts a bin with fewer or more rows as this many, so that no weight is extreme (reference code)."""


@dataclass(frozen=True)
class LabelDensity:
    """How many training labels each bin holds, smoothed, and the weight of its rows. Tuples of b bins; JSON-able."""

    edges: tuple[float, ...]
    """Rising, b + 1 of them; a bin holds its lower edge, the last bin its upper edge too."""
    counts: tuple[float, ...]
    """Training rows of each bin."""
    smoothed: tuple[float, ...]
    """Density after reweighting and smoothing, whose inverse is the weight; empty for ``none``."""
    weights: tuple[float, ...]
    """Weight of a row in each bin; their mean over the training rows is 1."""

    @classmethod
    def from_histogram(
        cls,
        edges: npt.ArrayLike,
        counts: npt.ArrayLike,
        *,
        reweight: Reweight = "sqrt_inv",
        kernel: Kernel = "gaussian",
        kernel_size: int = 5,
        sigma: float = 2.0,
        exact: bool = False,
    ) -> Self:
        """Smooth a histogram of the training labels (arXiv 2102.09554, section 3.1) and invert it.

        In bins of unequal width it is the rows per width that are smoothed, else quantile bins would all weigh the
        same. A bin whose smoothed density is zero (no training rows within reach of the window) gets the weight of
        the nearest bin that has one. A window wider than the histogram is cut off at its ends.

        Args:
            edges: rising edges of the bins, shape (b + 1,).
            counts: training rows in each bin, shape (b,), not all 0.
            reweight: smooth the root of the counts (``sqrt_inv``), the counts clipped to 5…1000 (``inverse``), or give
                every row weight 1 (``none``).
            kernel: as in ``kernel_window``.
            kernel_size: odd, in bins; 1 does not smooth.
            sigma: as in ``kernel_window``.
            exact: False is what the published code does: with ``inverse`` it cuts the smoothed counts to whole
                numbers. True keeps them.
        """
        bounds, rows = _histogram(edges, counts)
        _check_reweight(reweight)
        window = kernel_window(kernel, kernel_size, sigma, "max")
        if reweight == "none":
            return cls._of(bounds, rows, np.zeros(0), np.ones(len(rows)))
        density = rows * (np.diff(bounds).mean() / np.diff(bounds))
        smoothed = _smooth(density, window, reweight, _room_below(bounds, kernel_size // 2))
        if reweight == "inverse" and not exact:
            smoothed = np.trunc(smoothed)
        weights = 1 / _fill_from_nearest(smoothed)
        return cls._of(bounds, rows, smoothed, weights * (rows.sum() / (rows @ weights)))

    @classmethod
    def weighing(cls, edges: npt.ArrayLike, counts: npt.ArrayLike, weights: npt.ArrayLike) -> Self:
        """Return a histogram whose rows weigh as given by bin, shape (b,), 0 or more, scaled to mean 1 over rows."""
        bounds, rows = _histogram(edges, counts)
        given = row_weights(weights, len(rows))
        if not rows @ given > 0:
            raise InputError("weights: found 0 in every bin with rows, expected some above 0")
        return cls._of(bounds, rows, np.zeros(0), given * (rows.sum() / (rows @ given)))

    def bin_of(self, labels: npt.ArrayLike) -> IntArray:
        """Bin of each finite label, shape (n,), from 0; a label outside the edges gets the nearest bin."""
        found = np.searchsorted(self.edges, finite_vector("labels", labels), side="right") - 1
        return np.clip(found, 0, len(self.counts) - 1).astype(np.int64)

    def weight_of(self, labels: npt.ArrayLike) -> FloatArray:
        """Weight of each label, shape (n,), above 0."""
        return np.asarray(self.weights)[self.bin_of(labels)]

    def mixed(self, share: float) -> Self:
        """Return the same with weights of which only ``share``, in [0, 1], is by the density and the rest is 1.

        The loss under mixed weights is the mixture of the losses: it needs one fit where a blend of two models, one
        weighted and one not, needs two. Mean 1 over the training rows stays.
        """
        if not 0 <= share <= 1:
            raise InputError(f"share: found {share}, expected a share of the weights in [0, 1]")
        return replace(self, weights=tuple(1 - share + share * weight for weight in self.weights))

    def to_dict(self) -> dict[str, Any]:
        """Return lists of numbers, for JSON."""
        return {name: list(values) for name, values in asdict(self).items()}

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Self:
        """Return what ``to_dict`` stored."""
        return cls(**{name: tuple(values) for name, values in stored.items()})

    @classmethod
    def _of(cls, *columns: FloatArray) -> Self:
        return cls(*(tuple(column.tolist()) for column in columns))


def width_edges(low: float, high: float, n_bins: int = BINS) -> FloatArray:
    """Edges of ``n_bins`` bins of equal width from the lowest label to the highest; one bin when these are equal."""
    at_least("n_bins", n_bins, 1)
    if low < high:
        return np.unique(np.linspace(low, high, n_bins + 1))
    half = max(0.5, abs(low) * 1e-9)  # half a unit vanishes beside a label above 2^53
    return np.array([low - half, low + half])


def _smooth(density: FloatArray, window: FloatArray, reweight: Reweight, room_below: int) -> FloatArray:
    """Reweight the density and convolve it with zeros beyond the ends.

    The reference code counts labels over the whole range that they could take, so bins beyond the lowest and highest
    observed label exist and are empty, which ``inverse`` counts as ``FEWEST`` rows: half a window of them stands on
    either side here.
    """
    padded = np.pad(density, (room_below, len(window) // 2))
    reweighted = np.sqrt(padded) if reweight == "sqrt_inv" else np.clip(padded, FEWEST, MOST)
    smoothed: FloatArray = convolve1d(reweighted, weights=window, mode="constant")
    return smoothed[room_below : room_below + len(density)]


def _room_below(edges: FloatArray, half_window: int) -> int:
    """Empty bins below the first: a label that is never negative has none below zero."""
    if edges[0] < 0:
        return half_window
    return min(half_window, int(edges[0] / (edges[1] - edges[0])))


def _fill_from_nearest(smoothed: FloatArray) -> FloatArray:
    """Replace zeros by the nearest value above zero; between two, the lower bin's."""
    filled = np.flatnonzero(smoothed > 0)
    bins = np.arange(len(smoothed))
    above = np.clip(np.searchsorted(filled, bins), 0, len(filled) - 1)
    below = np.maximum(above - 1, 0)
    nearer_below = np.abs(bins - filled[below]) <= np.abs(filled[above] - bins)
    return smoothed[filled[np.where(nearer_below, below, above)]]


def _histogram(edges: npt.ArrayLike, counts: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    bounds, rows = finite_vector("edges", edges), finite_vector("counts", counts)
    if len(bounds) != len(rows) + 1 or np.any(np.diff(bounds) <= 0):
        raise InputError(
            f"edges: found {len(bounds)} for {len(rows)} counts, expected one more than counts, and rising"
        )
    if np.any(rows < 0) or rows.sum() == 0:
        raise InputError(f"counts: found {rows.sum():g} rows in all, expected training labels, no count below 0")
    return bounds, rows


def _check_reweight(reweight: str) -> None:
    known = get_args(Reweight)
    if reweight not in known:
        raise InputError(f"reweight: found {reweight!r}, expected one of {', '.join(known)}{nearest(reweight, known)}")
