"""The smearing estimate, against the mean over all residuals and against a planted mean."""

from __future__ import annotations

import numpy as np
import pytest

from remedi_spark.maths.label_scale import LabelScale
from remedi_spark.maths.smearing import Smearing


@pytest.mark.parametrize("kind", ["asinh", "linear"])
def test_two_numbers_do_what_all_residuals_do(kind: str) -> None:
    rng = np.random.default_rng(0)
    scale = LabelScale(kind, 20.0, 0.7, 1.3, -np.inf)  # type: ignore[arg-type]
    residuals, margins = rng.standard_t(5, 400), rng.normal(size=50)
    expected = [scale(margin + residuals).mean() for margin in margins]
    np.testing.assert_allclose(Smearing.of(scale, residuals)(margins), expected)


def test_the_mean_of_amounts_is_found_that_going_straight_back_misses() -> None:
    rng = np.random.default_rng(0)
    angle = 2 + 0.5 * rng.normal(size=100_000)
    amounts = np.sinh(angle + 0.8 * rng.normal(size=len(angle)))
    scale = LabelScale("asinh", 1.0, 2.0, 1.0, 0.0)
    margins = angle - 2
    found = Smearing.of(scale, scale.margin(amounts) - margins)(margins)
    assert found.mean() == pytest.approx(amounts.mean(), rel=0.02)
    assert scale(margins).mean() < 0.8 * amounts.mean()


def test_no_estimate_is_below_the_lowest_label_or_infinite() -> None:
    scale = LabelScale("asinh", 1.0, 0.0, 1.0, 0.0)
    assert Smearing.of(scale, [-3.0, -3.0])([-1.0, 0.0]).tolist() == [0, 0]
    assert np.isfinite(Smearing.of(scale, [1e6])([5.0])).all()
