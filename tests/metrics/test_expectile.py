"""The expectile loss, against finite differences, scipy and squared error."""

from __future__ import annotations

import lightgbm
import numpy as np
import pytest
from scipy.stats import expectile

from remedi_spark.errors import InputError
from remedi_spark.maths.expectile import (
    expectile_gradient,
    expectile_hessian,
    expectile_loss,
    lightgbm_metric,
    lightgbm_objective,
)


def test_derivatives_are_those_of_the_loss() -> None:
    rng = np.random.default_rng(0)
    z, y, step = rng.normal(size=100), rng.normal(size=100), 1e-5
    up, down = expectile_loss(z + step, y, 0.7), expectile_loss(z - step, y, 0.7)
    np.testing.assert_allclose(expectile_gradient(z, y, 0.7), (up - down) / (2 * step), atol=1e-6)
    slopes = (expectile_gradient(z + step, y, 0.7), expectile_gradient(z - step, y, 0.7))
    np.testing.assert_allclose(expectile_hessian(z, y, 0.7), (slopes[0] - slopes[1]) / (2 * step), atol=1e-6)
    np.testing.assert_allclose(expectile_loss(z, y, 0.5), 0.5 * (z - y) ** 2)


@pytest.mark.parametrize("level", [0.2, 0.5, 0.9])
def test_newton_steps_on_all_rows_find_the_expectile(level: float) -> None:
    rng = np.random.default_rng(0)
    y, weight = rng.lognormal(size=500), rng.integers(1, 4, 500)
    data = lightgbm.Dataset(np.ones((500, 1)), y, weight=weight).construct()
    y, objective, z = data.get_label(), lightgbm_objective(level), np.zeros(500)
    for _ in range(60):  # the leaf of all rows
        gradient, hessian = objective(z, data)
        z = z - gradient.sum() / hessian.sum()
    assert z[0] == pytest.approx(expectile(y, level, weights=weight))
    name, found, higher = lightgbm_metric(level)(z, data)
    assert (name, higher) == ("expectile", False)
    assert found == pytest.approx(np.average(expectile_loss(z, y, level), weights=weight))


def test_a_level_outside_its_range_is_refused() -> None:
    with pytest.raises(InputError, match="level: found 1"):
        expectile_loss([0], [1], 1)
