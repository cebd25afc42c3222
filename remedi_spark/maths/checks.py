"""Checks of the arrays that metrics and weights take, with messages that say what to fix."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from remedi_spark.errors import InputError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def finite_vector(name: str, values: npt.ArrayLike, rows: int | None = None) -> FloatArray:
    """Return ``values`` as float64 of shape (n,).

    Raises:
        InputError: not one-dimensional, not ``rows`` long, or with a value that is null or infinite.
    """
    vector = np.asarray(values, dtype=np.float64)
    if vector.ndim != 1:
        raise InputError(f"{name}: found an array of shape {vector.shape}, expected one dimension (n,)")
    if rows is not None and len(vector) != rows:
        raise InputError(f"{name}: found {len(vector)} values for {rows} rows, expected one value a row")
    finite = np.isfinite(vector)
    if not finite.all():
        row = int(np.argmin(finite))
        raise InputError(f"{name}: found {vector[row]} in row {row}, expected finite numbers; drop or fill such rows")
    return vector


def binary_labels(labels: npt.ArrayLike) -> FloatArray:
    """Return labels as 0.0 and 1.0, shape (n,); any other value is an ``InputError``."""
    vector = finite_vector("labels", labels)
    odd = (vector != 0) & (vector != 1)
    if odd.any():
        row = int(np.argmax(odd))
        raise InputError(f"labels: found {vector[row]:g} in row {row}, expected 0 or 1")
    return vector


def row_weights(weights: npt.ArrayLike | None, rows: int) -> FloatArray:
    """Return weights of shape (n,), ones when none are given; a negative weight is an ``InputError``."""
    if weights is None:
        return np.ones(rows)
    vector = finite_vector("weights", weights, rows)
    if (vector < 0).any():
        row = int(np.argmax(vector < 0))
        raise InputError(f"weights: found {vector[row]:g} in row {row}, expected 0 or more")
    return vector


def probabilities(name: str, values: npt.ArrayLike, rows: int | None = None) -> FloatArray:
    """Return ``values`` as float64 of shape (n,), each in [0, 1], else raise an ``InputError``."""
    vector = finite_vector(name, values, rows)
    outside = (vector < 0) | (vector > 1)
    if outside.any():
        row = int(np.argmax(outside))
        raise InputError(
            f"{name}: found {vector[row]:g} in row {row}, expected a probability in [0, 1]; calibrate first"
        )
    return vector


def at_least(name: str, value: float, least: float) -> None:
    """Raise an ``InputError`` unless ``value`` >= ``least``."""
    if not value >= least:
        raise InputError(f"{name}: found {value}, expected at least {least:g}")
