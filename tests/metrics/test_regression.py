from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import gmean, spearmanr
from sklearn.metrics import mean_absolute_error, root_mean_squared_error

from remedi_spark.errors import InputError
from remedi_spark.maths import regression


def test_errors_equal_reference_implementations():
    rng = np.random.default_rng(0)
    y, p, w = rng.normal(size=200), rng.normal(size=200), rng.random(200)
    assert regression.mae(y, p, w) == pytest.approx(mean_absolute_error(y, p, sample_weight=w))
    assert regression.rmse(y, p, w) == pytest.approx(root_mean_squared_error(y, p, sample_weight=w))
    assert regression.geometric_mean_absolute_error(y, p, w) == pytest.approx(gmean(np.abs(y - p), weights=w))
    rounded = np.round(p)
    assert regression.spearman(y, rounded) == pytest.approx(spearmanr(y, rounded).statistic)


def test_one_exact_hit_does_not_make_the_geometric_mean_zero():
    assert regression.geometric_mean_absolute_error([0, 0], [0, 4], floor=0.25) == pytest.approx(1)


def test_spearman_of_a_constant_is_nan():
    assert np.isnan(regression.spearman([1, 1, 1], [1, 2, 3])) and np.isnan(regression.spearman([], []))


def test_value_at_k_counts_ties_pro_rata():
    # 10 for certain, then one of two tied rows that hold 0 and 6.
    assert regression.value_at_k([10, 0, 6, 4], [3, 2, 2, 1], 2) == pytest.approx((10 + 3) / 20)
    assert regression.value_at_k([10, 0, 6, 4], [3, 2, 2, 1], 99) == 1
    assert np.isnan(regression.value_at_k([0, 0], [1, 2], 1))


def test_the_value_curve_is_value_at_every_share():
    labels, predictions = np.array([10.0, 0, 6, 4]), np.array([3.0, 2, 2, 1])
    share, value = regression.value_curve(labels, predictions, 5)
    at_k = [regression.value_at_k(labels, predictions, k) for k in (1, 2, 3, 4)]
    np.testing.assert_allclose(share, [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(value, [0, *at_k])
    for no_curve in ([0.0, 0.0], [-1.0, 5.0]):
        assert np.isnan(regression.value_curve(no_curve, [1.0, 2.0], 5)[1]).all()


def test_shots_are_told_by_training_rows():
    edges, counts = [0, 1, 2, 3, 4, 5], [101, 100, 20, 19, 0]
    labels = np.array([0.5, 1.5, 2.5, 3.5, 4.5, 9.0, -1.0])
    errors = np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0])
    found = regression.shot_metrics(labels, labels + errors, edges=edges, train_counts=counts)
    assert {shot: part["rows"] for shot, part in found.items()} == {
        "all": 7,
        "many": 1,
        "medium": 2,
        "few": 1,
        "zero": 3,
    }
    assert [found[shot]["mae"] for shot in ("many", "medium", "few")] == [1, 3, 8]
    assert found["medium"]["mse"] == 10 and found["medium"]["rmse"] == pytest.approx(10**0.5)
    assert found["zero"]["gmae"] == pytest.approx(32)


def test_the_last_bin_holds_its_upper_edge_and_an_empty_shot_is_nan():
    found = regression.shot_metrics([5.0], [5.0], edges=[0, 1, 5], train_counts=[0, 500])
    assert found["many"]["rows"] == 1 and found["few"]["rows"] == 0 and np.isnan(found["few"]["mae"])


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"edges": [0, 1]}, "edges: found 2 for 2 train_counts"),
        ({"edges": [0, 0, 1]}, "edges"),
        ({"few": 200}, "few: found 200"),
        ({"labels": [np.inf]}, "labels: found inf"),
        ({"predictions": [1.0, 2.0]}, "predictions: found 2 values for 1 rows"),
    ],
)
def test_bad_input_is_named(changed, word):
    arguments = {"labels": [1.0], "predictions": [1.0], "edges": [0, 1, 2], "train_counts": [1, 1]} | changed
    with pytest.raises(InputError, match=word):
        regression.shot_metrics(**arguments)
