"""How much a label matters for being extreme, and the squared errors weighed by it (SERA).

Source: Ribeiro & Moniz, "Imbalanced regression and extreme value prediction" (Machine Learning 109, 2020); the control
points as its authors' package sets them: a side of the median counts only where it has labels beyond its fence.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from remedi_spark.maths.checks import FloatArray, finite_vector, probabilities, row_weights

FENCE = 1.5
"""Interquartile ranges from a quartile to its fence (Tukey's box plot)."""


@dataclass(frozen=True)
class Relevance:
    """phi: labels to [0, 1]; 0 at the median, 1 from the last label within the fence on, a cubic without slope between.

    That cubic, 3 u² − 2 u³ of the way u from the median, is the piecewise cubic Hermite interpolation (pchip) of the
    paper between two control points whose slopes are 0.

    Attributes:
        median: of the training labels; relevance 0.
        low: the lowest label within the lower fence, at most the median; None: no label is beyond it, so that no low
            label is extreme.
        high: likewise the highest within the upper fence.
        zeros_apart: a label of exactly 0 is a point mass and never extreme: the other fields are those of the other
            labels, and its relevance is 0.
    """

    median: float
    low: float | None
    high: float | None
    zeros_apart: bool = False

    @classmethod
    def of(cls, labels: npt.ArrayLike, *, zeros_apart: bool = False) -> Self:
        """Return the relevance that training labels, shape (n,), not empty, define.

        >>> Relevance.of([1, 2, 3, 4, 5, 40])
        Relevance(median=3.5, low=None, high=5.0, zeros_apart=False)
        """
        values = finite_vector("labels", labels)
        values = values[values != 0] if zeros_apart else values
        first, median, third = np.quantile(values, [0.25, 0.5, 0.75])
        low, high = fences(first, third)
        inside = values[(values >= low) & (values <= high)]
        beyond = (values.min() < low, values.max() > high)
        return cls.from_box(float(median), (float(inside.min()), float(inside.max())), beyond, zeros_apart=zeros_apart)

    @classmethod
    def from_box(
        cls, median: float, within: tuple[float, float], beyond: tuple[bool, bool], *, zeros_apart: bool
    ) -> Self:
        """Return it from a box plot: the lowest and highest label within the fences, and whether any are beyond."""
        low, high = (edge if extremes else None for edge, extremes in zip(within, beyond, strict=True))
        return cls(median, low, high, zeros_apart)

    def __call__(self, labels: npt.ArrayLike) -> FloatArray:
        """Return the relevance of labels, shape (n,), in [0, 1]."""
        y = finite_vector("labels", labels)
        found = np.maximum(_rise(y, self.median, self.high), _rise(-y, -self.median, _negative(self.low)))
        return np.where(y == 0, 0.0, found) if self.zeros_apart else found

    def to_dict(self) -> dict[str, Any]:
        """Return numbers for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Self:
        """Return what :meth:`to_dict` stored."""
        return cls(**stored)


def fences(first: float, third: float) -> tuple[float, float]:
    """Return the labels beyond which a box plot calls labels extreme, from the quartiles."""
    reach = FENCE * (third - first)
    return first - reach, third + reach


def sera(
    labels: npt.ArrayLike,
    predictions: npt.ArrayLike,
    relevance: npt.ArrayLike,
    weights: npt.ArrayLike | None = None,
) -> float:
    """Squared error relevance area: the integral over t in [0, 1] of the squared errors of rows with relevance ≥ t.

    A row counts for all t up to its own relevance: the integral is exactly the sum of squared errors times relevance.
    A total, in the square of the label's unit: compare models on the same rows only. 0 without rows.

    Args:
        labels: shape (n,).
        predictions: shape (n,).
        relevance: of the labels, in [0, 1], shape (n,).
        weights: 0 or more, shape (n,).
    """
    y = finite_vector("labels", labels)
    errors = finite_vector("predictions", predictions, len(y)) - y
    return float(errors**2 @ (probabilities("relevance", relevance, len(y)) * row_weights(weights, len(y))))


def _rise(y: FloatArray, start: float, end: float | None) -> FloatArray:
    """0 up to ``start``, 1 from ``end`` on; where both are the same, all above it is 1. No ``end``: 0."""
    if end is None:
        return np.zeros(len(y))
    if end <= start:
        return (y > start).astype(np.float64)
    way = np.clip((y - start) / (end - start), 0, 1)
    return way**2 * (3 - 2 * way)


def _negative(value: float | None) -> float | None:
    return None if value is None else -value
