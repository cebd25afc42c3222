from __future__ import annotations

import lightgbm
import numpy as np
import pytest
from scipy.special import logit

from remedi_spark.errors import InputError
from remedi_spark.maths.focal import (
    best_constant,
    focal_gradient,
    focal_hessian,
    focal_loss,
    lightgbm_objective,
)

Z, Y = [0.0, 0.0, 2.0, -2.0], [1, 0, 1, 1]


def test_fixtures():
    assert focal_gradient(Z, Y, 0.25, 2) == pytest.approx([-0.0745717, 0.2237151, -0.00121774, -0.26917843], abs=1e-7)
    assert focal_hessian(Z, Y, 0.25, 2) == pytest.approx([0.09978585, 0.29935755, 0.00316939, 0.03864069], abs=1e-7)
    assert best_constant(0.005, 0.25, 2) == pytest.approx(-2.36006, abs=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("label", [0, 1])
def test_derivatives_equal_finite_differences(label, gamma):
    z, y = np.linspace(-12, 12, 97), np.full(97, label)
    step = 1e-5
    slope = (focal_loss(z + step, y, 0.3, gamma) - focal_loss(z - step, y, 0.3, gamma)) / (2 * step)
    bend = (focal_gradient(z + step, y, 0.3, gamma) - focal_gradient(z - step, y, 0.3, gamma)) / (2 * step)
    assert focal_gradient(z, y, 0.3, gamma) == pytest.approx(slope, abs=1e-9, rel=1e-6)
    assert focal_hessian(z, y, 0.3, gamma) == pytest.approx(bend, abs=1e-9, rel=1e-6)


def test_far_margins_are_finite_and_keep_their_precision():
    z, y = np.array([-1000, -50, 50, 1000.0]), np.ones(4)
    assert np.isfinite([focal_loss(z, y, 0.25, 2), focal_gradient(z, y, 0.25, 2), focal_hessian(z, y, 0.25, 2)]).all()
    # A positive's loss tends to −α z on the far left, to α e^(−(γ + 1) z) on the far right, far below float epsilon.
    assert focal_gradient([-50.0], [1], 0.25, 2) == pytest.approx([-0.25], rel=1e-12)
    assert focal_gradient([50.0], [1], 0.25, 2) == pytest.approx([-3 * 0.25 * np.exp(-150)], rel=1e-9, abs=0)


def test_without_focus_it_is_weighted_log_loss():
    z, y = np.linspace(-5, 5, 11), np.tile([0, 1], 6)[:11]
    p = 1 / (1 + np.exp(-z))
    assert focal_gradient(z, y, 0.5, 0) == pytest.approx((p - y) / 2)
    assert focal_hessian(z, y, 0.5, 0) == pytest.approx(p * (1 - p) / 2)


def test_the_hessian_is_negative_on_the_hardest_positives_and_the_floor_mends_it():
    below, above = logit(0.0577), logit(0.0579)
    assert focal_hessian([below], [1], 0.25, 2)[0] < 0 < focal_hessian([above], [1], 0.25, 2)[0]
    floored = focal_hessian([below, 0.0], [1, 1], 0.25, 2, hessian_floor=1e-3)
    assert floored == pytest.approx([1e-3, 0.09978585])


@pytest.mark.parametrize("prior", [1e-4, 0.005, 0.3, 0.9])
@pytest.mark.parametrize(("alpha", "gamma"), [(0.25, 2.0), (0.75, 5.0), (0.5, 0.5)])
def test_best_constant_is_the_lowest_point_of_the_mean_loss(prior, alpha, gamma):
    grid = np.linspace(-30, 30, 60_001)
    ones = np.ones_like(grid)
    loss = prior * focal_loss(grid, ones, alpha, gamma) + (1 - prior) * focal_loss(grid, 0 * ones, alpha, gamma)
    assert best_constant(prior, alpha, gamma) == pytest.approx(grid[loss.argmin()], abs=1.1e-3)


def test_best_constant_of_plain_log_loss_is_the_priors_logit():
    assert best_constant(0.005, 0.5, 0) == pytest.approx(logit(0.005))


def planted_rows() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3_000, 4))
    return x, (rng.random(3_000) < 1 / (1 + np.exp(3 - 2 * x[:, 0]))).astype(float), rng.uniform(0.5, 2, 3_000)


@pytest.mark.parametrize("weighted", [False, True])
def test_native_lightgbm_with_gamma_zero_is_its_own_log_loss(weighted):
    x, y, w = planted_rows()
    shared = {"verbose": -1, "num_threads": 1, "min_sum_hessian_in_leaf": 0, "min_data_in_leaf": 50, "num_leaves": 15}

    def fitted(objective):
        data = lightgbm.Dataset(x, y, weight=w if weighted else None)
        parameters = shared | {"objective": objective, "boost_from_average": False}
        return lightgbm.train(parameters, data, num_boost_round=20).predict(x, raw_score=True)

    # α = ½ halves gradients and hessians alike, which leaves every leaf's value as it was.
    assert fitted(lightgbm_objective(0.5, 0)) == pytest.approx(fitted("binary"), abs=1e-4)


def test_native_lightgbm_lowers_the_focal_loss_below_the_best_constant():
    x, y, _ = planted_rows()
    start = best_constant(y.mean(), 0.25, 2)
    data = lightgbm.Dataset(x, y, init_score=np.full(len(y), start))
    parameters = {"verbose": -1, "num_threads": 1, "objective": lightgbm_objective(0.25, 2), "learning_rate": 0.05}
    margin = start + lightgbm.train(parameters, data, num_boost_round=40).predict(x, raw_score=True)
    constant = focal_loss(np.full(len(y), start), y, 0.25, 2).mean()
    assert focal_loss(margin, y, 0.25, 2).mean() < 0.8 * constant


def test_bad_input_is_named():
    with pytest.raises(InputError, match="alpha: found 1"):
        lightgbm_objective(1, 2)
    with pytest.raises(InputError, match="gamma: found -1"):
        focal_loss([0], [1], 0.25, -1)
    with pytest.raises(InputError, match="prior: found 0"):
        best_constant(0, 0.25, 2)
