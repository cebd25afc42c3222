"""Expectile loss for boosted trees (Newey & Powell, 1987): squared errors that weigh more on one side.

With a = 2 τ where the label is above the margin and 2 (1 − τ) elsewhere, L = ½ a (z − y)². At τ = .5 it is the squared
error; above, predictions rise from the mean towards the upper tail.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from remedi_spark.errors import InputError
from remedi_spark.maths.checks import FloatArray

Objective = Callable[[npt.NDArray[Any], Any], tuple[FloatArray, FloatArray]]
Metric = Callable[[npt.NDArray[Any], Any], tuple[str, float, bool]]


def expectile_loss(z: npt.ArrayLike, y: npt.ArrayLike, level: float) -> FloatArray:
    """Loss of each row, 0 or more.

    Args:
        z: margins, shape (n,).
        y: labels, shape (n,).
        level: τ in (0, 1).
    """
    return np.asarray(0.5 * expectile_hessian(z, y, level) * (np.asarray(z) - np.asarray(y)) ** 2)


def expectile_gradient(z: npt.ArrayLike, y: npt.ArrayLike, level: float) -> FloatArray:
    """dL/dz of each row. Arguments as in :func:`expectile_loss`."""
    return np.asarray(expectile_hessian(z, y, level) * (np.asarray(z) - np.asarray(y)))


def expectile_hessian(z: npt.ArrayLike, y: npt.ArrayLike, level: float) -> FloatArray:
    """d²L/dz² of each row, above 0. Arguments as in :func:`expectile_loss`."""
    if not 0 < level < 1:
        raise InputError(f"level: found {level}, expected above 0 and below 1")
    return np.where(np.asarray(y) > np.asarray(z), 2 * level, 2 * (1 - level))


def lightgbm_objective(level: float) -> Objective:
    """Return the objective for native LightGBM's ``params["objective"]``, which leaves row weights to it."""

    def objective(margins: npt.NDArray[Any], dataset: Any) -> tuple[FloatArray, FloatArray]:
        labels, weights = dataset.get_label(), dataset.get_weight()
        gradient, hessian = (f(margins, labels, level) for f in (expectile_gradient, expectile_hessian))
        return (gradient, hessian) if weights is None else (gradient * weights, hessian * weights)

    return objective


def lightgbm_metric(level: float) -> Metric:
    """Return the metric for early stopping: the weighted mean loss, the lower the better."""

    def metric(margins: npt.NDArray[Any], dataset: Any) -> tuple[str, float, bool]:
        losses = expectile_loss(margins, dataset.get_label(), level)
        return "expectile", float(np.average(losses, weights=dataset.get_weight())), False

    return metric
