from __future__ import annotations

import numpy as np
import pytest

from remedi_spark.errors import InputError
from remedi_spark.maths.drift import (
    histogram,
    median_of_bins,
    psi,
    stability_edges,
)


def moved_by(reference, current, bins=10):
    """PSI of a numeric column over quantile bins of the reference."""
    present = reference[np.isfinite(reference)]
    edges = stability_edges(np.quantile(present, np.linspace(0, 1, bins + 1)) if len(present) else [])
    return psi(histogram(reference, edges), histogram(current, edges))


def test_psi_of_a_hand_made_case():
    expected = (0.25 - 0.5) * np.log(0.25 / 0.5) + (0.75 - 0.5) * np.log(0.75 / 0.5)
    assert psi([50, 50], [25, 75]) == pytest.approx(expected)
    assert psi([50, 50], [500, 500]) == 0


def test_an_empty_bin_is_large_but_finite():
    assert 1 < psi([100, 0], [50, 50]) < 5
    assert psi([100, 0], [50, 50]) == pytest.approx(psi([50, 50], [100, 0]))


def test_same_distribution_is_near_zero_and_a_shift_is_not():
    rng = np.random.default_rng(0)
    reference = rng.normal(size=50_000)
    # Under no drift PSI is about chi-square with 9 degrees of freedom times (1/n + 1/m).
    assert moved_by(reference, rng.normal(size=50_000)) < 30 * (2 / 50_000)
    # N(0, 1) against N(1, 1): the symmetric Kullback-Leibler divergence is 1, and binning can only lose some.
    assert 0.8 < moved_by(reference, rng.normal(1, 1, 50_000), bins=20) < 1


def test_nulls_are_a_bin_of_their_own():
    values = np.random.default_rng(0).normal(size=10_000)
    with_nulls = values.copy()
    with_nulls[:3_000] = np.nan
    expected = (0.3 - 1e-4) * np.log(0.3 / 1e-4) + (0.7 - 1) * np.log(0.7)
    assert moved_by(values, with_nulls) == pytest.approx(expected, rel=0.01)
    assert moved_by(with_nulls, with_nulls) == 0
    assert moved_by(np.full(5, np.nan), np.full(9, np.nan)) == 0
    assert moved_by(np.full(5, np.nan), values) > 5


@pytest.mark.parametrize("moved", [-1.0, 1.0])
@pytest.mark.parametrize("constant", [0.0, 7.5])
def test_leaving_a_constant_shows_on_either_side(constant, moved):
    reference = np.full(100, constant)
    assert moved_by(reference, reference) == 0
    assert moved_by(reference, reference + moved) > 5


def test_many_zeros_are_one_bin():
    rng = np.random.default_rng(0)
    reference = np.where(rng.random(10_000) < 0.6, 0, rng.exponential(size=10_000))
    # As many zeros as before, now negative: only a bin for the zeros alone can see it.
    assert moved_by(reference, np.where(reference == 0, -1, reference)) > 1
    assert moved_by(reference, np.where(reference == 0, 1e-9, reference)) > 1


def test_edges_are_inner_and_infinite_values_fall_into_the_outer_bins():
    assert stability_edges([1.0, 2.0, 3.0, 4.0]).tolist() == [2.0, 3.0]
    reference = np.arange(100.0)
    stretched = np.concatenate([reference, [np.inf, -np.inf]])
    assert moved_by(reference, stretched) == pytest.approx(psi([10] * 10, [11, *[10] * 8, 11]))


@pytest.mark.parametrize("zeros", [0.0, 0.3, 0.507, 0.8, 1.0])
def test_the_median_is_found_in_the_bins(zeros):
    rng = np.random.default_rng(0)
    values = np.where(rng.permutation(10_001) < zeros * 10_001, 0, rng.exponential(size=10_001))
    edges = stability_edges(np.quantile(values, np.linspace(0, 1, 11), method="inverted_cdf"))
    with_nulls = np.concatenate([values, np.full(9_000, np.nan)])
    assert median_of_bins(edges, histogram(with_nulls, edges)) == np.quantile(values, 0.5, method="inverted_cdf")


def test_the_edge_that_sets_a_frequent_value_apart_is_not_the_median():
    assert median_of_bins([np.nextafter(5.0, -np.inf), 5.0, 6.0], [499, 100, 200, 201, 0]) == 5.0


def test_without_values_there_is_no_median():
    assert median_of_bins([], [0, 7]) is None
    assert median_of_bins([1.0], [0, 0, 7]) is None


def test_no_rows_give_nan_and_bad_counts_are_named():
    assert np.isnan(psi([1, 2], [0, 0])) and np.isnan(psi([0, 0], [1, 2]))
    with pytest.raises(InputError, match="actual_counts: found 3 bins, expected the 2"):
        psi([1, 2], [1, 2, 3])
    with pytest.raises(InputError, match="expected_counts"):
        psi([-1, 2], [1, 2])
