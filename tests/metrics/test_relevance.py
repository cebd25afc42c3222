"""Relevance of labels and SERA, against a brute-force integral and figures of a published package."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.interpolate import CubicHermiteSpline

from remedi_spark.errors import InputError
from remedi_spark.maths.relevance import Relevance, sera


def test_the_area_is_the_integral_over_thresholds() -> None:
    rng = np.random.default_rng(0)
    labels, predictions, weights = rng.lognormal(1, 1, 300), rng.lognormal(1, 1, 300), rng.integers(0, 3, 300)
    relevance = Relevance.of(labels)(labels)
    assert 0 < np.mean(relevance == 0) < 1 and np.any((relevance > 0) & (relevance < 1))
    errors = weights * (labels - predictions) ** 2
    # A midpoint rule over so many thresholds that none of the 300 steps is off by more than half of one.
    steps = (np.arange(20_000) + 0.5) / 20_000
    area = np.mean([errors[relevance >= step].sum() for step in steps])
    assert sera(labels, predictions, relevance, weights) == pytest.approx(area, rel=1e-4)
    assert sera([], [], []) == 0


def test_relevance_is_that_of_smogn() -> None:
    # smogn 0.1.2, phi_ctrl_pts and phi: control points -9, 0.5 and 8.
    labels = [-90.0, -40, -9, -5, -3, -2, -1, 0, 1, 2, 3, 4, 6, 8, 30, 70]
    expected = [
        1, 1, 1, 0.617437, 0.307188, 0.171308, 0.066919, 0.008019, 0.012741, 0.104, 0.259259, 0.450074, 0.824593,
        1, 1, 1,
    ]  # fmt: skip
    found = Relevance.of(labels)
    assert found == Relevance(0.5, -9.0, 8.0)
    assert found(labels) == pytest.approx(expected, abs=1e-6)


def test_the_cubic_is_hermite_between_points_without_slope() -> None:
    spline = CubicHermiteSpline([-9.0, 0.5, 8.0], [1.0, 0.0, 1.0], [0.0, 0.0, 0.0])
    labels = np.linspace(-9, 8, 201)
    assert Relevance(0.5, -9.0, 8.0)(labels) == pytest.approx(spline(labels))


def test_a_side_without_labels_beyond_its_fence_has_no_relevance() -> None:
    tail = Relevance.of([1, 2, 3, 4, 5, 40])
    assert tail.low is None and tail.high == 5
    assert tail([-100, 1, 3.5, 5, 40]).tolist() == [0, 0, 0, 1, 1]
    assert Relevance.of([1, 2, 3, 4])([-9, 9]).tolist() == [0, 0]
    assert (Relevance.of([-1, -2, -3, -4, -5, -40])([-40, -1]) == [1, 0]).all()


def test_where_most_labels_are_one_number_all_beyond_are_extreme() -> None:
    assert Relevance.of([1] * 9 + [2])([0, 1, 1.5, 2]).tolist() == [0, 0, 1, 1]


def test_zeros_apart_are_never_extreme() -> None:
    apart = Relevance.of([0] * 100 + [10, 11, 12, 13, 14, -90], zeros_apart=True)
    assert apart.median == 11.5 and apart.low == 10
    assert apart([-90, 0, 10, 11.5]).tolist() == [1, 0, 1, 0]
    assert Relevance.from_dict(apart.to_dict()) == apart


def test_a_relevance_outside_its_range_is_refused() -> None:
    with pytest.raises(InputError, match="relevance: found 2 in row 1"):
        sera([1, 2], [1, 2], [0, 2])
