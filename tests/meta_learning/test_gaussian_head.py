"""A Gaussian prior on a linear head: the planted prior is found, the mode is the one that another solver finds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from remedi_spark.segments.maths.gaussian_head import (
    GaussianPrior,
    Labelled,
    Likelihood,
    approximate,
    learn_prior,
    posterior_mode,
)

MEAN = np.array([-1.0, 0.8, 0.0, -0.5])
COVARIANCE = np.array([[0.3, 0.1, 0.0, 0.0], [0.1, 0.5, 0.2, 0.0], [0.0, 0.2, 0.4, 0.0], [0.0, 0.0, 0.0, 0.05]])
WIDE = GaussianPrior(np.zeros(4), np.eye(4))


def segment(rng: np.random.Generator, head: np.ndarray, rows: int) -> Labelled:
    """Rows whose labels follow a head and an offset."""
    design = np.column_stack([np.ones(rows), rng.normal(size=(rows, len(head) - 1))])
    offset = rng.normal(size=rows) * 0.5
    y = (rng.random(rows) < 1 / (1 + np.exp(-(offset + design @ head)))).astype(float)
    return Labelled(design, y, np.ones(rows), offset)


def test_the_planted_prior_is_found() -> None:
    rng = np.random.default_rng(0)
    heads = rng.multivariate_normal(MEAN, COVARIANCE, 300)
    segments = [segment(rng, head, 400) for head in heads]
    found = learn_prior([approximate(one, WIDE) for one in segments])
    # 300 segments: the standard error of a mean is at most .04, that of a variance about 8 % of it.
    np.testing.assert_allclose(found.mean, MEAN, atol=0.12)
    np.testing.assert_allclose(found.covariance, COVARIANCE, atol=0.12)
    scatter = np.cov(np.array([posterior_mode(one, WIDE.scaled(100)) for one in segments]).T)
    assert scatter[3, 3] > 1.3 * found.covariance[3, 3], "noise of the estimates is no difference between segments"


def test_exact_likelihoods_give_mean_and_scatter() -> None:
    """Segments known without error: the prior is their mean and their covariance (but for the shrinkage)."""
    heads = np.random.default_rng(1).multivariate_normal(MEAN, COVARIANCE, 50)
    found = learn_prior([Likelihood(1e8 * head, 1e8 * np.eye(4)) for head in heads])
    np.testing.assert_allclose(found.mean, heads.mean(0), atol=1e-4)
    np.testing.assert_allclose(np.diag(found.covariance), heads.var(0), rtol=1e-3)
    expected = 50 / 54 * np.cov(heads.T, bias=True)
    np.testing.assert_allclose(found.covariance[0, 1:], expected[0, 1:], atol=1e-4)


def test_a_mean_that_is_held_at_zero_becomes_scatter() -> None:
    """Heads around (1, 1) with the second mean held at 0: its mean square is its variance."""
    heads = 1 + 0.1 * np.random.default_rng(2).normal(size=(50, 2))
    found = learn_prior([Likelihood(1e8 * head, 1e8 * np.eye(2)) for head in heads], centred=[1])
    np.testing.assert_allclose(found.mean, [heads[:, 0].mean(), 0], atol=1e-4)
    assert found.covariance[1, 1] == pytest.approx((heads[:, 1] ** 2).mean(), rel=1e-3)


@pytest.mark.parametrize("precision", [0.3, 30.0])
def test_the_mode_is_that_of_penalised_logistic_regression(precision: float) -> None:
    rng = np.random.default_rng(2)
    rows = segment(rng, MEAN, 200)
    weighted = Labelled(rows.design, rows.y, rng.random(200) * 3, np.zeros(200))
    found = posterior_mode(weighted, GaussianPrior(np.zeros(4), np.eye(4) / precision))
    reference = LogisticRegression(C=1 / precision, fit_intercept=False, tol=1e-10, max_iter=1000)
    reference.fit(rows.design, rows.y, sample_weight=weighted.weight)
    np.testing.assert_allclose(found, reference.coef_[0], atol=1e-5)


def test_the_mode_with_offset_mean_and_covariance_is_the_minimum_that_another_solver_finds() -> None:
    rows, prior = segment(np.random.default_rng(3), MEAN, 60), GaussianPrior(MEAN + 1, COVARIANCE)

    def objective(head: np.ndarray) -> float:
        margin, away = rows.offset + rows.design @ head, head - prior.mean
        loss = np.logaddexp(0, margin) - rows.y * margin
        return float(loss.sum() + 0.5 * away @ np.linalg.inv(COVARIANCE) @ away)

    reference = minimize(objective, np.zeros(4), method="BFGS", options={"gtol": 1e-8})
    np.testing.assert_allclose(posterior_mode(rows, prior), reference.x, atol=1e-5)


def test_separable_rows_far_from_the_prior_still_converge() -> None:
    """Plain Newton steps overshoot here."""
    x = np.linspace(-50, 50, 40)
    rows = Labelled(np.column_stack([np.ones(40), x]), (x > 0).astype(float), np.full(40, 1e3), 30 * np.sign(-x))
    prior = GaussianPrior(np.array([5.0, -8.0]), np.eye(2) * 10)
    head = posterior_mode(rows, prior)
    assert np.isfinite(head).all()
    probability = 1 / (1 + np.exp(-np.clip(rows.offset + rows.design @ head, -500, 500)))
    gradient = rows.design.T @ (rows.weight * (probability - rows.y)) + (head - prior.mean) / 10
    assert np.abs(gradient).max() < 1e-3


def test_without_labels_that_say_anything_the_mode_is_the_mean() -> None:
    nothing = Labelled(np.zeros((3, 4)), np.array([0.0, 1.0, 0.0]), np.ones(3), np.zeros(3))
    np.testing.assert_allclose(posterior_mode(nothing, GaussianPrior(MEAN, COVARIANCE)), MEAN)
