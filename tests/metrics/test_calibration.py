from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from remedi_spark.errors import InputError
from remedi_spark.maths.calibration import reliability_table
from remedi_spark.maths.tied_scores import TiedScores


def ece(labels, probs, bins=10, weights=None):
    rows = (np.asarray(column, dtype=float) for column in (labels, probs))
    return TiedScores.of(*rows, None if weights is None else np.asarray(weights, dtype=float)).ece(bins)


def test_ece_of_a_hand_made_case():
    # Two bins of equal mass: predicted .1 and .6, observed 0 and 1/2.
    labels, probs = [0, 0, 0, 1], [0.1, 0.1, 0.6, 0.6]
    assert ece(labels, probs, bins=2) == pytest.approx((0.1 + 0.1) / 2)
    assert ece(labels, probs, bins=2, weights=[1, 1, 3, 1]) == pytest.approx((2 * 0.1 + 4 * abs(0.6 - 0.25)) / 6)


def test_ties_stay_in_one_bin():
    labels, probs = np.tile([0, 1], 50), np.full(100, 0.5)
    assert ece(labels, probs, bins=10) == 0
    assert len(reliability_table(labels, probs, bins=10).rows) == 1


def test_equal_mass_bins_see_what_equal_width_bins_hide():
    rng = np.random.default_rng(0)
    truth = rng.beta(0.5, 100, 200_000)
    labels = rng.random(len(truth)) < truth
    flat = np.full(len(truth), truth.mean()) + rng.normal(0, 1e-6, len(truth))
    # Over- and underestimates cancel inside the one bin of equal width that holds nearly all rows.
    assert ece(labels, np.sort(truth)[np.argsort(np.argsort(-truth))]) > 0.004
    assert ece(labels, truth) < 0.0006
    assert ece(labels, flat) < 0.0006


def test_reliability_table_rises_and_its_intervals_cover():
    rng = np.random.default_rng(1)
    probs = rng.beta(1, 20, 50_000)
    table = reliability_table(rng.random(len(probs)) < probs, probs, bins=20)
    assert table.rows.sum() == len(probs) and np.ptp(table.rows) <= 1
    assert (np.diff(table.predicted) > 0).all()
    inside = (table.lower <= table.predicted) & (table.predicted <= table.upper)
    assert inside.sum() >= 16  # 19 of 20 expected; fewer than 16 once in 3,000


def test_wilson_interval_equals_scipy():
    table = reliability_table([1, 1, 1, 0, 0, 0, 0, 0, 0, 0], np.full(10, 0.3), bins=1)
    expected = binomtest(3, 10).proportion_ci(method="wilson")
    assert (table.lower[0], table.upper[0]) == pytest.approx((expected.low, expected.high))


def test_no_rows():
    assert np.isnan(ece([], []))
    assert len(reliability_table([], []).rows) == 0


def test_a_score_is_not_a_probability():
    with pytest.raises(InputError, match="probs: found 2 in row 1, expected a probability"):
        reliability_table([0, 1], [0.5, 2.0])
    with pytest.raises(InputError, match="bins: found 0"):
        reliability_table([0, 1], [0.5, 0.2], bins=0)
