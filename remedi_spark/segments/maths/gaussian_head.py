"""Empirical Bayes for a linear head: a Gaussian prior learned from many segments, its posterior mode in a new one.

margin = offset + design · w, with w ~ N(m, Σ) in each segment. MAML's inner loop is an approximate posterior mode under
such a prior (Grant et al., "Recasting Gradient-Based Meta-Learning as Hierarchical Bayes", arXiv 1801.08930); with a
linear head the mode is the minimum of a convex function, and m and Σ have closed-form updates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
_STEPS = 50


@dataclass(frozen=True)
class GaussianPrior:
    """What heads are before a segment's labels are seen: mean (p,) and covariance (p, p)."""

    mean: Array
    covariance: Array

    def scaled(self, factor: float) -> GaussianPrior:
        """Return the prior with its covariance times ``factor``: below 1 trusts the other segments more."""
        return GaussianPrior(self.mean, self.covariance * factor)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able form."""
        return {"mean": self.mean.tolist(), "covariance": self.covariance.tolist()}

    @classmethod
    def from_dict(cls, tree: dict[str, Any]) -> GaussianPrior:
        """Rebuild from :meth:`to_dict`."""
        return cls(np.asarray(tree["mean"]), np.asarray(tree["covariance"]))


@dataclass(frozen=True)
class Labelled:
    """Rows of one segment: design (n, p), y in {0, 1}, weight and offset (n,)."""

    design: Array
    y: Array
    weight: Array
    offset: Array


@dataclass(frozen=True)
class Likelihood:
    """A segment's log-likelihood near its mode, linear · w − ½ wᵀ precision w: linear (p,), precision (p, p)."""

    linear: Array
    precision: Array


def posterior_mode(rows: Labelled, prior: GaussianPrior) -> Array:
    """Return the w of largest posterior density, shape (p,), by Newton steps halved until they descend.

    Its value is that of a logistic regression with penalty ½ (w − m)ᵀ Σ⁻¹ (w − m).
    """
    penalty = np.asarray(np.linalg.inv(prior.covariance), dtype=np.float64)
    head = prior.mean.copy()
    value = _objective(rows, prior.mean, penalty, head)
    for _ in range(_STEPS):
        probability, curvature = _curvature(rows, head)
        gradient = rows.design.T @ (rows.weight * (probability - rows.y)) + penalty @ (head - prior.mean)
        step = np.linalg.solve(curvature + penalty, gradient)
        descent, length = float(gradient @ step), 1.0
        if descent < 1e-10:
            break
        tried = _objective(rows, prior.mean, penalty, head - step)
        while tried > value - 1e-4 * length * descent and length > 1e-8:
            length /= 2
            tried = _objective(rows, prior.mean, penalty, head - length * step)
        if length <= 1e-8:  # nothing left but rounding
            break
        head, value = head - length * step, tried
    return head


def _objective(rows: Labelled, mean: Array, penalty: Array, head: Array) -> float:
    margin = rows.offset + rows.design @ head
    away = head - mean
    return float(rows.weight @ (np.logaddexp(0, margin) - rows.y * margin) + 0.5 * away @ penalty @ away)


def _curvature(rows: Labelled, head: Array) -> tuple[Array, Array]:
    """Return the probabilities (n,) and the Hessian of the negative log-likelihood (p, p)."""
    probability = 1 / (1 + np.exp(-np.clip(rows.offset + rows.design @ head, -500, 500)))
    spread = rows.weight * probability * (1 - probability)
    return probability, (rows.design * spread[:, None]).T @ rows.design


def approximate(rows: Labelled, around: GaussianPrior) -> Likelihood:
    """Return Laplace's approximation of the likelihood, expanded at the posterior mode under ``around``."""
    mode = posterior_mode(rows, around)
    _, curvature = _curvature(rows, mode)
    # At the mode the likelihood's gradient equals that of the penalty.
    slope = np.linalg.solve(around.covariance, mode - around.mean)
    return Likelihood(curvature @ mode + slope, curvature)


def learn_prior(segments: Sequence[Likelihood], *, centred: Sequence[int] = (), iterations: int = 100) -> GaussianPrior:
    """Return the m and Σ that explain the segments best, by expectation maximisation.

    Args:
        segments: one likelihood each.
        centred: coordinates whose mean is held at 0.
        iterations: of the maximisation.

    E: each segment's posterior N(μ_j, S_j). M: m is the mean of the μ_j, Σ the mean of S_j + (μ_j − m)(μ_j − m)ᵀ: the
    part of the scatter that is noise of the estimates is not counted as difference between segments (Dempster, Laird
    and Rubin, 1977; Laird and Ware, 1982). Departure: few segments say little about each single correlation, so Σ is
    mixed with its own diagonal as if p more segments had shown that.
    """
    linear = np.stack([one.linear for one in segments])
    precision = np.stack([one.precision for one in segments])
    size = linear.shape[1]
    mean, covariance, shrinkage = np.zeros(size), 0.1 * np.eye(size), size / (size + len(segments))
    for _ in range(iterations):
        before = np.linalg.inv(covariance)
        spread = np.linalg.inv(precision + before)  # (segments, p, p)
        heads = np.einsum("jab,jb->ja", spread, linear + before @ mean)
        mean = heads.mean(0)
        mean[list(centred)] = 0.0
        away = heads - mean
        scatter = spread.mean(0) + away.T @ away / len(heads)
        covariance = (1 - shrinkage) * scatter + shrinkage * np.diag(np.diag(scatter))
    return GaussianPrior(mean, covariance)
