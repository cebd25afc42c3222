"""How far a column has moved since training: the population stability index.

PSI = Σ (a − e) ln(a / e) over the bins' shares e (expected, at training) and a (actual). Rules of thumb: below 0.1
nothing to see, 0.1 to 0.25 watch, above 0.25 act.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from remedi_spark.errors import InputError
from remedi_spark.maths.checks import FloatArray

SMALLEST_SHARE = 1e-4
"""An empty bin counts as this share: a level that appears or vanishes is a large shift, not an infinite one."""


def psi(expected_counts: npt.ArrayLike, actual_counts: npt.ArrayLike) -> float:
    """Population stability index of two histograms over the same bins, 0 or more; nan when either is empty.

    Args:
        expected_counts: rows in each bin at training, shape (b,), 0 or more.
        actual_counts: rows in each bin now, shape (b,), 0 or more.

    >>> round(psi([50, 50], [25, 75]), 4)  # -0.25 ln 0.5 + 0.25 ln 1.5
    0.2747
    """
    expected = _counts("expected_counts", expected_counts)
    actual = _counts("actual_counts", actual_counts)
    if len(expected) != len(actual):
        raise InputError(f"actual_counts: found {len(actual)} bins, expected the {len(expected)} of expected_counts")
    if not expected.sum() or not actual.sum():
        return float("nan")
    e = np.maximum(expected / expected.sum(), SMALLEST_SHARE)
    a = np.maximum(actual / actual.sum(), SMALLEST_SHARE)
    return float(np.sum((a - e) * np.log(a / e)))


def psi_by_chance(
    expected_counts: npt.ArrayLike, actual_rows: float, level: float = 0.999, draws: int = 4000, seed: int = 0
) -> float:
    """PSI that rows of the very same distribution stay below with probability ``level``, by simulation.

    Twenty rows show a "drift" of 1 where there is none, and the chi-squared approximation (Yurdakul, 2018) is far too
    narrow there, because it knows nothing of empty bins. Both sides are drawn from the expected shares.
    """
    expected = _counts("expected_counts", expected_counts)
    if not expected.sum() or actual_rows < 1:
        return 0.0
    rng, shares = np.random.default_rng(seed), expected / expected.sum()
    e, a = (
        np.maximum(rng.multinomial(int(rows), shares, draws) / rows, SMALLEST_SHARE)
        for rows in (expected.sum(), actual_rows)
    )
    return float(np.quantile(((a - e) * np.log(a / e)).sum(axis=1), level))


def stability_edges(quantiles: npt.ArrayLike) -> FloatArray:
    """Inner edges of right-closed bins from the quantiles of a column, lowest and highest value included.

    A value that several quantiles share (many zeros, a constant) gets a bin of its own, so that rows that leave it on
    either side show.
    """
    values, times = np.unique(np.asarray(quantiles, dtype=np.float64), return_counts=True)
    atoms = values[times > 1]
    return np.unique(np.concatenate([values[1:-1], atoms, np.nextafter(atoms, -np.inf)]))


def median_of_bins(edges: npt.ArrayLike, counts: npt.ArrayLike) -> float | None:
    """Median of a column from its bins: the edge that half of its values do not pass; None without values.

    Args:
        edges: inner edges from :func:`stability_edges` of quantiles that have the median among them, shape (b,).
        counts: rows in each bin, then the nulls, shape (b + 2,), as :func:`histogram` counts them.
    """
    cuts = np.asarray(edges, dtype=np.float64)
    known = np.cumsum(_counts("counts", counts)[:-1])
    if not len(cuts) or not known[-1]:
        return None
    # Quantiles over many rows are approximate: the median's edge may have a little less than half below it.
    found = cuts[min(int(np.searchsorted(known / known[-1], 0.498)), len(cuts) - 1)]
    # Below a value with a bin of its own stands the edge that only sets it apart.
    apart = np.nextafter(found, np.inf)
    return float(apart if apart in cuts else found)


def histogram(values: FloatArray, edges: FloatArray) -> FloatArray:
    """Rows in each right-closed bin between the inner edges, then the nulls, shape (len(edges) + 2,)."""
    missing = np.isnan(values)
    rows = np.bincount(np.searchsorted(edges, values[~missing], side="left"), minlength=len(edges) + 1)
    return np.append(rows, missing.sum()).astype(np.float64)


def _counts(name: str, values: npt.ArrayLike) -> FloatArray:
    counts = np.asarray(values, dtype=np.float64)
    if counts.ndim != 1 or not np.all(counts >= 0) or not np.isfinite(counts).all():
        raise InputError(f"{name}: found {counts.tolist()}, expected one count a bin, each 0 or more")
    return counts
