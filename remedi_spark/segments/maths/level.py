"""A segment's base rate from few labelled rows, shrunk towards what its owners' margins say (empirical Bayes).

The level b of a segment is what must be added to the pooled margins: b ~ N(m, τ²) over segments, learned as the prior
of a head that has an intercept alone (``gaussian_head``). Five buyers leave the share in a table uncertain by a factor
of about 1.5; the posterior mode of b lies between that share and the pooled net's own mean probability. An intercept
moves no rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from remedi_spark.segments.maths.gaussian_head import (
    Array,
    GaussianPrior,
    Labelled,
    Likelihood,
    approximate,
    learn_prior,
    posterior_mode,
)

_WIDE = GaussianPrior(np.zeros(1), np.eye(1))


def level_likelihood(margins: Array, y: Array, weight: Array) -> Likelihood:
    """Return what one learning segment's rows say of its level; all three of shape (n,)."""
    return approximate(_rows(margins, y, weight), _WIDE)


def learn_level(segments: Sequence[Likelihood]) -> dict[str, float]:
    """Return mean and variance of the level over segments, as ``meta.json`` keeps them."""
    prior = learn_prior(segments)
    return {"mean": float(prior.mean[0]), "variance": float(prior.covariance[0, 0])}


def base_rate(margins: Array, y: Array, weight: Array, level: dict[str, Any]) -> float:
    """Return the segment's share of positives in (0, 1).

    Args:
        margins: of the pooled net on the support, shape (n,).
        y: 0 or 1, shape (n,).
        weight: shape (n,).
        level: of :func:`learn_level`.
    """
    prior = GaussianPrior(np.array([level["mean"]]), np.array([[level["variance"]]]))
    (b,) = posterior_mode(_rows(margins, y, weight), prior)
    return float(np.average(1 / (1 + np.exp(-np.clip(margins + b, -500, 500))), weights=weight))


def _rows(margins: Array, y: Array, weight: Array) -> Labelled:
    return Labelled(np.ones((len(y), 1)), y, weight, margins)
