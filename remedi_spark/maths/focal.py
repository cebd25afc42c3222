"""Focal loss for boosted trees (Lin et al., 2017), with exact derivatives by the margin z.

With s = 2y − 1, q = σ(s z) and α_t = α for positives, 1 − α for negatives: L = −α_t (1 − q)^γ ln q. Everything is
computed from ln q and 1 − q without subtracting near-equal numbers, and is finite for any finite margin.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import expit, log_expit

from remedi_spark.errors import InputError
from remedi_spark.maths.checks import FloatArray

HESSIAN_FLOOR = 1e-6
"""Least hessian handed to LightGBM: the true one is negative on the hardest positives (q < 0.0578 for γ = 2)."""

Objective = Callable[[npt.NDArray[Any], Any], tuple[FloatArray, FloatArray]]


def focal_loss(z: npt.ArrayLike, y: npt.ArrayLike, alpha: float, gamma: float) -> FloatArray:
    """Loss of each row, 0 or more.

    Args:
        z: margins (logits before the sigmoid), shape (n,).
        y: labels, 0 or 1, shape (n,).
        alpha: weight of a positive, in (0, 1); a negative has 1 − alpha.
        gamma: 0 or more; 0 is weighted log-loss.
    """
    _, a, _, log_q, miss = _terms(z, y, alpha, gamma)
    return -a * miss**gamma * log_q


def focal_gradient(z: npt.ArrayLike, y: npt.ArrayLike, alpha: float, gamma: float) -> FloatArray:
    """dL/dz of each row: s α_t (1 − q)^γ [γ q ln q − (1 − q)]. Arguments as in ``focal_loss``."""
    s, a, q, log_q, miss = _terms(z, y, alpha, gamma)
    return s * a * miss**gamma * (gamma * q * log_q - miss)


def focal_hessian(
    z: npt.ArrayLike, y: npt.ArrayLike, alpha: float, gamma: float, hessian_floor: float | None = None
) -> FloatArray:
    """d²L/dz² of each row: α_t q (1 − q)^γ [(1 + 2γ)(1 − q) + γ ln q ((1 − q) − γ q)].

    Negative where the loss bends down; ``hessian_floor`` (LightGBM needs one) is the least value returned, None for
    the true second derivative. Other arguments as in ``focal_loss``.
    """
    _, a, q, log_q, miss = _terms(z, y, alpha, gamma)
    hessian = a * q * miss**gamma * ((1 + 2 * gamma) * miss + gamma * log_q * (miss - gamma * q))
    return hessian if hessian_floor is None else np.maximum(hessian, hessian_floor)


def best_constant(prior: float, alpha: float, gamma: float) -> float:
    """Return the margin that minimises the mean loss when a share ``prior`` of the rows, in (0, 1), is positive.

    The start that a custom objective must set itself, because LightGBM's ``boost_from_average`` does not know it.
    """
    if not 0 < prior < 1:
        raise InputError(f"prior: found {prior}, expected a share of positives above 0 and below 1")
    labels = np.array([1.0, 0.0])
    shares = np.array([prior, 1 - prior])

    def slope(z: float) -> float:
        return float(shares @ focal_gradient(np.full(2, z), labels, alpha, gamma))

    # Far to the left only the positives' gradient, −α, is left, far to the right only the negatives', 1 − α.
    return float(brentq(slope, -700.0, 700.0, xtol=1e-12))


def lightgbm_objective(alpha: float, gamma: float, hessian_floor: float = HESSIAN_FLOOR) -> Objective:
    """Return the objective for native LightGBM's ``params["objective"]``: (margins, dataset) -> gradient, hessian.

    LightGBM leaves row weights to a custom objective, so they are multiplied in here.
    """
    _check(alpha, gamma)

    def objective(margins: npt.NDArray[Any], dataset: Any) -> tuple[FloatArray, FloatArray]:
        labels, weights = dataset.get_label(), dataset.get_weight()
        gradient = focal_gradient(margins, labels, alpha, gamma)
        hessian = focal_hessian(margins, labels, alpha, gamma, hessian_floor)
        return (gradient, hessian) if weights is None else (gradient * weights, hessian * weights)

    return objective


def _terms(
    z: npt.ArrayLike, y: npt.ArrayLike, alpha: float, gamma: float
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray]:
    """Sign s, weight α_t, q, ln q and 1 − q of each row."""
    _check(alpha, gamma)
    positive = np.asarray(y, dtype=np.float64) == 1
    sign = np.where(positive, 1.0, -1.0)
    margin = sign * np.asarray(z, dtype=np.float64)
    return sign, np.where(positive, alpha, 1 - alpha), expit(margin), log_expit(margin), expit(-margin)


def _check(alpha: float, gamma: float) -> None:
    if not 0 < alpha < 1:
        raise InputError(f"alpha: found {alpha}, expected the weight of a positive, above 0 and below 1")
    if not 0 <= gamma < np.inf:
        raise InputError(f"gamma: found {gamma}, expected 0 or more")
