"""How far calibrated probabilities can be trusted on later rows: slope and intercept of their log-odds, with errors.

The true log-odds of a row with log-odds z are taken to be a + b z (Cox, 1958). Rows that a model has not learned from
give (a, b) by logistic regression; 0 and 1 mean calibrated. A normal prior around (0, 1) stands for what is known
without such rows: then it is the answer, and the interval is wide. Rows of one owner hang together, so that the
information is divided by the design effect over groups of owners.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from remedi_spark.maths.checks import FloatArray

PRIOR_SD = (0.5, 0.1)
"""Of intercept and slope before test rows are looked at: a calibration has been fitted, so that slopes stay near 1."""
UNKNOWN_SD = (0.5, 0.25)
"""Where there are no test rows: p off by a factor of 1.6, ranking worth 25 % less or more."""
LATER_SD = (0.35, 0.05)
"""Of the change from the test rows to rows that come later, by a model that has learned from more of them."""
_STEPS = 25


@dataclass(frozen=True, eq=False)
class Recalibration:
    """What is known of (a, b).

    Attributes:
        mean: shape (2,).
        covariance: shape (2, 2).
    """

    mean: FloatArray
    covariance: FloatArray

    def draw(self, draws: int, rng: np.random.Generator) -> FloatArray:
        """Return pairs (a, b), b above 0, shape (draws, 2)."""
        found = rng.multivariate_normal(self.mean, self.covariance, draws, method="cholesky")
        found[:, 1] = np.maximum(found[:, 1], 0.05)
        return found

    def apply(self, logits: npt.ArrayLike) -> FloatArray:
        """Return the likeliest probabilities of log-odds, in their shape."""
        return np.asarray(expit(self.mean[0] + self.mean[1] * np.asarray(logits, dtype=np.float64)))


def unknown() -> Recalibration:
    """Return what is known without a single row."""
    return Recalibration(np.array([0.0, 1.0]), np.diag(np.square(UNKNOWN_SD)))


def recalibrate(logits: npt.ArrayLike, rows: npt.ArrayLike, positives: npt.ArrayLike) -> Recalibration:
    """Fit (a, b) on binned rows that the model did not learn from.

    Args:
        logits: mean log-odds of each bin, finite, shape (b,).
        rows: in each group of owners and bin, shape (g, b).
        positives: of these, shape (g, b).
    """
    n, y = np.asarray(rows, dtype=np.float64), np.asarray(positives, dtype=np.float64)
    if not n.sum():
        return unknown()
    x = np.stack([np.ones(n.shape[1]), np.asarray(logits, dtype=np.float64)], axis=1)
    prior = np.diag(1 / np.square(PRIOR_SD))
    theta, information = _fit(x, n.sum(axis=0), y.sum(axis=0), prior)
    effect = _design_effect(x, n, y, theta, information)
    theta, information = _fit(x, n.sum(axis=0) / effect, y.sum(axis=0) / effect, prior)
    covariance = np.linalg.inv(information + prior)
    return Recalibration(theta, (covariance + covariance.T) / 2)


def for_later_rows(known: Recalibration) -> Recalibration:
    """Return what is known of rows that come after the test rows: as much, less surely."""
    return Recalibration(known.mean, known.covariance + np.diag(np.square(LATER_SD)))


def _fit(x: FloatArray, n: FloatArray, y: FloatArray, prior: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the posterior mode and the information of the rows there, by Newton's method with halved steps."""
    start = np.array([0.0, 1.0])
    theta = start.copy()

    def loss(t: FloatArray) -> float:
        margin = x @ t
        return float(n @ np.logaddexp(0, margin) - y @ margin + (t - start) @ prior @ (t - start) / 2)

    for _ in range(_STEPS):
        p = expit(x @ theta)
        gradient = x.T @ (n * p - y) + prior @ (theta - start)
        step = np.linalg.solve(_information(x, n, p) + prior, gradient)
        while loss(theta - step) > loss(theta) + 1e-12 and np.abs(step).max() > 1e-10:
            step = step / 2
        theta = theta - step
        if np.abs(step).max() < 1e-9:
            break
    return theta, _information(x, n, expit(x @ theta))


def _information(x: FloatArray, n: FloatArray, p: FloatArray) -> FloatArray:
    return np.asarray((x * (n * p * (1 - p))[:, None]).T @ x)


def _design_effect(x: FloatArray, n: FloatArray, y: FloatArray, theta: FloatArray, information: FloatArray) -> float:
    """Return how much wider groups of owners make the error than independent rows would, 1 or more."""
    groups = int((n.sum(axis=1) > 0).sum())
    if groups < 2:
        return 1.0
    scores = (y - n * expit(x @ theta)) @ x
    scores = scores - scores.mean(axis=0)
    between = scores.T @ scores * groups / (groups - 1)
    ratio = np.linalg.solve(information + 1e-9 * np.eye(2), between)
    return max(1.0, float(np.trace(ratio)) / 2)
