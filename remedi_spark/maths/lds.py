"""Label distribution smoothing: row weights that make rare continuous labels count (arXiv 2102.09554, section 3.1)."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from remedi_spark.errors import InputError, nearest
from remedi_spark.maths.checks import FloatArray, at_least, finite_vector
from remedi_spark.maths.kernels import Kernel
from remedi_spark.maths.label_density import LabelDensity, Reweight

Bins = Literal["integer", "width", "quantile"]

DEFAULT_BINS = 100
MAX_BINS = 100_000
"""More bins than this are no histogram any more; integer bins of a wide label must become width or quantile bins."""

LARGEST_INTEGER = 2.0**53
"""Above, neighbouring whole numbers are the same float."""


def lds_weights(
    labels: npt.ArrayLike,
    *,
    bins: Bins = "integer",
    n_bins: int | None = None,
    reweight: Reweight = "sqrt_inv",
    kernel: Kernel = "gaussian",
    kernel_size: int = 5,
    sigma: float = 2.0,
    exact: bool = False,
) -> FloatArray:
    """Weight of each row: the inverse of its label's smoothed density, scaled to mean 1. Shape (n,).

    A constant label gives weights of 1. Use ``label_density`` to keep the weights of the bins for other labels; its
    arguments are these.

    Raises:
        InputError: no labels, a null or infinite one, or an argument outside its range.

    >>> lds_weights([0, 0, 0, 20]).round(2).tolist()  # 1 / sqrt(3) to 1, scaled to mean 1
    [0.85, 0.85, 0.85, 1.46]
    """
    return label_density(
        labels,
        bins=bins,
        n_bins=n_bins,
        reweight=reweight,
        kernel=kernel,
        kernel_size=kernel_size,
        sigma=sigma,
        exact=exact,
    ).weight_of(labels)


def label_density(
    labels: npt.ArrayLike,
    *,
    bins: Bins = "integer",
    n_bins: int | None = None,
    reweight: Reweight = "sqrt_inv",
    kernel: Kernel = "gaussian",
    kernel_size: int = 5,
    sigma: float = 2.0,
    exact: bool = False,
) -> LabelDensity:
    """Count finite labels, shape (n,), in bins and smooth the counts.

    Args:
        labels: training labels.
        bins: one bin for each whole number (a label belongs to the one at or below it), ``n_bins`` of equal width, or
            ``n_bins`` between quantiles (fewer where quantiles coincide).
        n_bins: for ``width`` and ``quantile``, 100 when None.
        reweight: as in ``LabelDensity.from_histogram``, and so the rest.
        kernel: see there.
        kernel_size: see there.
        sigma: see there.
        exact: see there.
    """
    values = finite_vector("labels", labels)
    edges = _edges(values, bins, n_bins)
    found = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    return LabelDensity.from_histogram(
        edges,
        np.bincount(found, minlength=len(edges) - 1),
        reweight=reweight,
        kernel=kernel,
        kernel_size=kernel_size,
        sigma=sigma,
        exact=exact,
    )


def integer_edges(low: float, high: float) -> FloatArray:
    """Edges of one bin for each whole number from that at or below ``low`` to that at or below ``high``."""
    first, last = np.floor(low), np.floor(high)
    if last - first >= MAX_BINS or max(-first, last) >= LARGEST_INTEGER:
        raise InputError(
            f"bins: found labels from {low:g} to {high:g}, too large or more than {MAX_BINS} integer bins; "
            "use bins='width' or bins='quantile'"
        )
    return np.arange(first, last + 2)


def width_edges(low: float, high: float, n_bins: int = DEFAULT_BINS) -> FloatArray:
    """Edges of ``n_bins`` bins of equal width from the lowest label to the highest; one bin when these are equal."""
    _check_n_bins(n_bins)
    return np.unique(np.linspace(low, high, n_bins + 1)) if low < high else _around(low)


def quantile_edges(quantiles: npt.ArrayLike) -> FloatArray:
    """Edges from the labels' quantiles, lowest and highest label included; equal ones are merged."""
    edges = np.unique(finite_vector("quantiles", quantiles))
    return edges if len(edges) > 1 else _around(float(edges[0]))


def _edges(labels: FloatArray, bins: Bins, n_bins: int | None) -> FloatArray:
    known = get_args(Bins)
    if bins not in known:
        raise InputError(f"bins: found {bins!r}, expected one of {', '.join(known)}{nearest(bins, known)}")
    if not len(labels):
        raise InputError("labels: found no rows, expected at least one training label")
    low, high = float(labels.min()), float(labels.max())
    if bins == "integer":
        if n_bins is not None:
            raise InputError(
                f"n_bins: found {n_bins} with bins='integer', which has one bin for each whole number; leave it out"
            )
        return integer_edges(low, high)
    count = DEFAULT_BINS if n_bins is None else n_bins
    _check_n_bins(count)
    if bins == "width":
        return width_edges(low, high, count)
    return quantile_edges(np.quantile(labels, np.linspace(0, 1, count + 1)))


def _check_n_bins(n_bins: int) -> None:
    at_least("n_bins", n_bins, 1)
    if n_bins > MAX_BINS:
        raise InputError(f"n_bins: found {n_bins}, expected at most {MAX_BINS}")


def _around(label: float) -> FloatArray:
    half = max(0.5, abs(label) * 1e-9)  # half a unit vanishes beside a label above 2^53
    return np.array([label - half, label + half])
