"""The base rate from few rows lies between the table's share and what the other segments suggest."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from remedi_spark.segments.maths.level import base_rate, learn_level, level_likelihood


def rows(level: float, count: int, seed: int) -> tuple[Any, Any, Any]:
    """Margins around -3, labels at ``level`` above them, weights."""
    rng = np.random.default_rng(seed)
    margins = rng.normal(-3, 1, count)
    y = (rng.random(count) < 1 / (1 + np.exp(-margins - level))).astype(np.float64)
    return margins, y, np.ones(count)


def test_the_planted_spread_of_levels_is_found() -> None:
    """Levels N(0.5, 0.8²) over 300 segments; the noise of 200 rows a segment is not counted as spread."""
    levels = np.random.default_rng(0).normal(0.5, 0.8, 300)
    found = learn_level([level_likelihood(*rows(level, 200, i)) for i, level in enumerate(levels)])
    assert found["mean"] == pytest.approx(0.5, abs=0.15)
    assert found["variance"] == pytest.approx(0.64, rel=0.3)


def test_few_rows_are_shrunk_and_many_are_believed() -> None:
    level = {"mean": 0.0, "variance": 0.25}
    for count, seed in ((60, 1), (20_000, 2)):
        margins, y, weight = rows(2.0, count, seed)
        share, usual = y.mean(), float(np.mean(1 / (1 + np.exp(-margins))))
        rate = base_rate(margins, y, weight, level)
        assert usual < rate < share
    assert rate == pytest.approx(share, rel=0.02)


def test_over_segments_the_shrunk_rate_is_closer_than_the_share() -> None:
    """Mean squared error of the logarithm, levels drawn from the prior; supports without a buyer are left out."""
    level = {"mean": 0.0, "variance": 0.25}
    errors: dict[str, list[float]] = {"share": [], "shrunk": []}
    for seed in range(300):
        b = np.random.default_rng([7, seed]).normal(0, 0.5)
        margins, y, weight = rows(b, 100, seed)
        if not y.sum():
            continue
        truth = float(np.mean(1 / (1 + np.exp(-margins - b))))
        for name, rate in (("share", y.mean()), ("shrunk", base_rate(margins, y, weight, level))):
            errors[name].append(float(np.log(rate / truth)) ** 2)
    assert np.mean(errors["shrunk"]) < np.mean(errors["share"])


def test_the_order_of_the_rows_does_not_matter() -> None:
    margins, y, weight = rows(1.0, 200, 3)
    order = np.random.default_rng(0).permutation(200)
    level = {"mean": 0.1, "variance": 0.3}
    assert base_rate(margins[order], y[order], weight[order], level) == pytest.approx(
        base_rate(margins, y, weight, level), rel=1e-9
    )
