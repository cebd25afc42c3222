"""Simple recommenders, learned on a sample of owners at t and earlier: item by item matrices and neighbours.

Each turns what an owner has bought so far into a score for every item. All are small: I x I, or sample x I.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from remedi_spark.guides.maths.history import History, Readings, read
from remedi_spark.maths.checks import FloatArray

COMPLETED = 3
"""Past windows whose outcome the ridge learns from."""


@dataclass(frozen=True)
class RecommenderSettings:
    """How they are learned."""

    ease_penalty: float = 1.0
    """λ of EASE, in units of the mean of the diagonal of XᵀX."""
    ridge_penalty: float = 0.1
    """Likewise of the ridge."""
    neighbours: int = 200
    """Nearest owners of TIFU-kNN."""


@dataclass(frozen=True, eq=False)
class Recommenders:
    """What has been learned at one t."""

    ease: FloatArray
    """Steck (2019), eq. 8: shape (I, I), diagonal 0."""
    ridge: FloatArray
    """From the two decayed histories and a constant to the next window: shape (2 I + 1, I)."""
    alike: FloatArray
    """Mean profile of an item's buyers, each profile of length 1: shape (I, I)."""
    sample: FloatArray
    """Profiles that neighbours are looked for in (Hu et al., 2020, TIFU-kNN), shape (m, I)."""
    neighbours: int

    def scores(self, readings: Readings) -> dict[str, FloatArray]:
        """Return the score of each pair by recommender, shape (n, I)."""
        x = profile(readings)
        unit = _unit(x)
        return {
            "ease": presence(readings) @ self.ease,
            "ridge": _design(readings) @ self.ridge,
            "alike": unit @ self.alike.T,
            "neighbours": nearest_mean(unit, self.sample, self.neighbours),
        }


def profile(readings: Readings) -> FloatArray:
    """Return what the owner buys, mostly lately: log of the long decayed lines, shape (n, I)."""
    return np.asarray(np.log1p(readings.long))


def presence(readings: Readings) -> FloatArray:
    """Return the share of the last windows with a purchase, the late ones more, at most 1: shape (n, I)."""
    weights = 0.5 ** (np.arange(len(readings.windows)) / LONG_WINDOWS)
    return np.asarray(np.tensordot(weights / weights.sum(), readings.windows, axes=1))


LONG_WINDOWS = 4


def learn(sample: History, t: int, horizon: int, settings: RecommenderSettings) -> Recommenders:
    """Learn from a sample of owners at the end of day t."""
    now = read(sample, t, horizon)
    x = presence(now)
    ease = _ease(x, settings.ease_penalty)
    ridge = _ridge(sample, t, horizon, settings.ridge_penalty)
    unit = _unit(profile(now))
    ever = now.ever.astype(np.float64)
    alike = (ever.T @ unit) / np.maximum(ever.sum(axis=0), 1)[:, None]
    return Recommenders(ease, ridge, alike, unit, settings.neighbours)


def _ease(x: FloatArray, penalty: float) -> FloatArray:
    gram = x.T @ x
    # An item that nobody in the sample has had would make the matrix singular without it.
    lam = penalty * max(float(np.diag(gram).mean()), 1e-6)
    inverse = np.linalg.inv(gram + lam * np.eye(len(gram)))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    return np.asarray(weights)


def _ridge(sample: History, t: int, horizon: int, penalty: float) -> FloatArray:
    width = 2 * sample.items + 1
    gram, cross = np.zeros((width, width)), np.zeros((width, sample.items))
    for back in range(1, COMPLETED + 1):
        then = read(sample, t - back * horizon, horizon)
        label = sample.until(t).bought(t - back * horizon, t - (back - 1) * horizon)
        x = _design(then)
        gram += x.T @ x
        cross += x.T @ label
    lam = np.full(width, penalty * max(float(np.diag(gram)[:-1].mean()), 1e-6))
    lam[-1] = 1e-6
    return np.asarray(cho_solve(cho_factor(gram + np.diag(lam)), cross))


def _design(readings: Readings) -> FloatArray:
    one = np.ones((len(readings.visited_last), 1))
    return np.hstack([np.log1p(readings.short), profile(readings), one])


def _unit(x: FloatArray) -> FloatArray:
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12))


def nearest_mean(unit: FloatArray, sample: FloatArray, neighbours: int) -> FloatArray:
    """Return the mean profile of the nearest owners of the sample by cosine, shape (n, I).

    An owner that is in the sample itself is one of its neighbours, at most one of many.
    """
    if not len(sample):
        return np.zeros_like(unit)
    count = min(neighbours, len(sample))
    near = unit @ sample.T
    found = np.argpartition(-near, count - 1, axis=1)[:, :count]
    chosen = np.zeros_like(near)
    np.put_along_axis(chosen, found, 1 / count, axis=1)
    return np.asarray(chosen @ sample)
