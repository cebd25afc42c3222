from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from remedi_spark.errors import InputError
from remedi_spark.maths.calibrator_choice import _stratified_folds, best_calibrator
from remedi_spark.maths.calibrators import (
    BetaCalibrator,
    IdentityCalibrator,
    IsotonicCalibrator,
    PlattCalibrator,
    calibrator_from_dict,
)

ALL = [IdentityCalibrator, PlattCalibrator, BetaCalibrator, IsotonicCalibrator]
FITTED = ALL[1:]


def drawn(seed: int, n: int, probability_of) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    z = rng.normal(-3, 1.5, n)
    return z, (rng.random(n) < probability_of(z)).astype(float)


def test_platt_recovers_a_planted_line():
    z, y = drawn(0, 200_000, lambda z: expit(0.5 * z - 1))
    found = PlattCalibrator.fit(z, y)
    assert (found.a, found.b) == pytest.approx((0.5, -1), abs=0.05)


def test_platt_equals_logistic_regression_on_the_smoothed_targets():
    z, y = drawn(1, 500, lambda z: expit(z + 1))
    high, low = (y.sum() + 1) / (y.sum() + 2), 1 / (len(y) - y.sum() + 2)
    target = np.where(y == 1, high, low)
    twice = np.concatenate([z, z])[:, None]
    labels, weights = np.repeat([1, 0], len(z)), np.concatenate([target, 1 - target])
    reference = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(twice, labels, sample_weight=weights)
    found = PlattCalibrator.fit(z, y)
    assert (found.a, found.b) == pytest.approx((reference.coef_[0, 0], reference.intercept_[0]), abs=1e-5)


def test_beta_recovers_a_planted_bend():
    def truth(z):
        return expit(1.5 * np.log(expit(z)) - 0.4 * np.log(expit(-z)) + 1)

    z, y = drawn(2, 100_000, truth)
    found = BetaCalibrator.fit(z, y)
    p, q = truth(z), found(z)
    divergence = np.mean(p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q)))
    assert divergence < 10 * 3 / (2 * len(z))  # three parameters cost 3 / (2 n) on average


def test_isotonic_follows_scikit_learn():
    z, y = drawn(3, 5_000, lambda z: expit(np.maximum(z, -2)))
    reference = IsotonicRegression(out_of_bounds="clip").fit(z, y)
    found = IsotonicCalibrator.fit(z, y)
    # The mixed-in slope moves a probability by at most a millionth, the edge by 1 / (n + 2).
    assert found(z) == pytest.approx(reference.predict(z), abs=1 / 5_002 + 2e-6)


@pytest.mark.parametrize("calibrator", ALL)
def test_weights_are_repeated_rows(calibrator):
    z, y = drawn(4, 400, lambda z: expit(z + 2))
    weights = np.random.default_rng(0).integers(0, 4, len(z))
    weighted, repeated = calibrator.fit(z, y, weights), calibrator.fit(np.repeat(z, weights), np.repeat(y, weights))
    assert weighted(z) == pytest.approx(repeated(z), abs=3e-6)


@pytest.mark.parametrize("calibrator", ALL)
@pytest.mark.parametrize("planted", ["rising", "falling", "steps"])
def test_rank_order_and_ties_are_kept(calibrator, planted):
    shape = {
        "rising": expit,
        "falling": lambda z: expit(-z - 6),
        "steps": lambda z: np.where(z > -3, 0.2, 0),
    }
    z, y = drawn(5, 3_000, shape[planted])
    z = z.astype(np.float32)
    fitted = calibrator.fit(z, y)
    everywhere = np.unique(np.concatenate([z, np.linspace(-20, 10, 5_000, dtype=np.float32)]))
    p = fitted(everywhere)
    assert (np.diff(p) > 0).all()
    assert (p > 0).all() and (p < 1).all()


@pytest.mark.parametrize("calibrator", ALL)
def test_json_round_trip_and_shapes(calibrator):
    z, y = drawn(6, 300, expit)
    fitted = calibrator.fit(z, y)
    again = calibrator_from_dict(json.loads(json.dumps(fitted.to_dict())))
    assert again == fitted and type(again) is calibrator
    assert (again(z) == fitted(z)).all()
    assert fitted(z.reshape(3, 100)).shape == (3, 100) and fitted([]).shape == (0,)


@pytest.mark.parametrize("calibrator", FITTED)
def test_one_class_and_constant_logits_are_defined(calibrator):
    for y in (np.zeros(20), np.ones(20)):
        assert np.isfinite(calibrator.fit(np.linspace(-1, 1, 20), y)([-50, 0, 50])).all()
    constant = calibrator.fit(np.full(100, -4.0), np.repeat([1.0, 0.0], [10, 90]))
    assert constant([-4.0])[0] == pytest.approx(0.1, abs=0.01)


def test_best_calibrator_picks_what_was_planted():
    z, y = drawn(7, 20_000, lambda z: np.where(z < -3, 0.01, np.where(z < -1, 0.2, 0.7)))
    assert isinstance(best_calibrator(z, y), IsotonicCalibrator)
    z, y = drawn(8, 50_000, lambda z: expit(1.5 * np.log(expit(z)) - 0.2 * np.log(expit(-z)) + 1))
    assert isinstance(best_calibrator(z, y), BetaCalibrator)
    z, y = drawn(9, 2_000, lambda z: expit(0.3 * z - 2))
    assert y.sum() < 200 and isinstance(best_calibrator(z, y), PlattCalibrator)


def test_few_positives_never_try_the_bent_maps():
    z, y = drawn(10, 1_000, lambda z: np.where(z < -2, 0.0, 0.6))
    y[np.flatnonzero(y)[150:]] = 0
    assert best_calibrator(z, y).kind in {"platt", "identity"}


def test_identity_where_even_platt_is_worse():
    rng = np.random.default_rng(0)
    worse = []
    for seed in range(30):
        z, y = drawn(seed, 60, expit)
        worse.append(best_calibrator(z, y, seed=seed).kind)
    assert {"identity"} <= set(worse) <= {"identity", "platt"}
    assert best_calibrator(rng.normal(size=9), np.zeros(9)) == IdentityCalibrator()
    assert best_calibrator(rng.normal(size=9), np.eye(9)[0]) == IdentityCalibrator()


def test_calibration_improves_the_log_loss_of_fresh_rows():
    z, y = drawn(11, 20_000, lambda z: expit(0.4 * z - 1.5))
    fresh, labels = drawn(12, 20_000, lambda z: expit(0.4 * z - 1.5))
    fitted = best_calibrator(z, y)
    truth = log_loss(labels, expit(0.4 * fresh - 1.5))
    assert log_loss(labels, fitted(fresh)) < truth * 1.002 < log_loss(labels, expit(fresh))


def test_an_owners_rows_stay_in_one_fold_and_positives_are_spread():
    rng = np.random.default_rng(0)
    owners = rng.integers(0, 400, 3_000)
    y = np.isin(owners, np.arange(23)).astype(float)
    fold_of = _stratified_folds(y, [f"o{i}" for i in owners], 5, seed=1)
    assert fold_of is not None
    assert all(len(set(fold_of[owners == owner])) == 1 for owner in range(400))
    positive_owners = [len(set(owners[(fold_of == fold) & (y == 1)])) for fold in range(5)]
    assert sorted(positive_owners) == [4, 4, 5, 5, 5]


def test_rows_of_an_owner_would_flatter_isotonic_without_groups():
    # Each owner's label is pure chance and its rows are alike: a map that bends to owners must not win.
    rng = np.random.default_rng(3)
    owners = np.repeat(np.arange(300), 40)
    z = np.repeat(rng.normal(size=300), 40) + rng.normal(0, 1e-4, 12_000)
    y = np.repeat((rng.random(300) < 0.3).astype(float), 40)
    assert best_calibrator(z, y).kind == "isotonic"
    assert best_calibrator(z, y, owners).kind != "isotonic"


def test_deterministic():
    z, y = drawn(13, 3_000, expit)
    assert best_calibrator(z, y, seed=4) == best_calibrator(z, y, seed=4)


def test_bad_input_is_named():
    with pytest.raises(InputError, match="logits: found inf in row 1"):
        PlattCalibrator.fit([0, np.inf], [0, 1])
    with pytest.raises(InputError, match="weights: found a total of 0"):
        PlattCalibrator.fit([0, 1], [0, 1], [0, 0])
    with pytest.raises(InputError, match="folds: found 1"):
        best_calibrator([0, 1], [0, 1], folds=1)
    with pytest.raises(InputError, match="groups: found shape"):
        best_calibrator([0, 1], [0, 1], groups=[1])
    with pytest.raises(InputError, match="found kind 'spline', expected one of identity, platt, beta, isotonic"):
        calibrator_from_dict({"kind": "spline"})


@settings(max_examples=30, deadline=None)
@given(st.floats(1e-3, 10), st.floats(-20, 20), st.floats(-30, 30))
def test_platt_is_the_beta_map_with_equal_ends(a, b, z):
    assert BetaCalibrator(a, a, b)([z]) == pytest.approx(PlattCalibrator(a, b)([z]), rel=1e-9)


@pytest.mark.slow
def test_what_is_calibrated_is_mostly_left_alone():
    kept = []
    for seed in range(20):
        z, y = drawn(seed, 20_000, expit)
        kept.append(best_calibrator(z, y, seed=seed).kind)
    assert kept.count("identity") > 10  # a gain of one standard error by chance: in one of six, for each map tried


def test_steps_of_few_positives_are_not_followed():
    z, y = drawn(7, 4_000, lambda z: np.where(z < -3, 0.01, np.where(z < -1, 0.2, 0.7)))
    assert 200 < y.sum() < 1000
    assert best_calibrator(z, y).kind in {"platt", "beta"}
