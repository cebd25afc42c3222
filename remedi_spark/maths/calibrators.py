"""Maps from a model's logit to a calibrated probability, plain numbers that are stored as JSON.

Every calibrator is strictly increasing, so that calibration never changes a ranking, nor breaks or makes a tie (as far
as the numbers can tell two probabilities apart).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit, log_expit

from remedi_spark.errors import InputError
from remedi_spark.maths.checks import FloatArray, binary_labels, finite_vector, row_weights

MIN_SLOPE = 1e-4
"""The least slope of a parametric calibrator on the logit; a fit that wants less, or a falling map, gets this."""
ISOTONIC_SLOPE = 1e-6
"""Share of a strictly rising curve in the isotonic map, which alone would tie all rows of a flat step."""


class Calibrator(Protocol):
    """What every calibrator does."""

    kind: ClassVar[str]

    @classmethod
    def fit(cls, logits: npt.ArrayLike, labels: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> Self:
        """Fit on rows that the model did not see; logits finite, labels 0 or 1, weights 0 or more, shapes (n,)."""
        ...

    def __call__(self, logits: npt.ArrayLike) -> FloatArray:
        """Return probabilities in the shape of ``logits``."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Return what ``calibrator_from_dict`` takes: numbers, strings and lists only."""
        ...


@dataclass(frozen=True)
class _Stored:
    """JSON form of a calibrator that is a dataclass of numbers."""

    kind: ClassVar[str]

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, **asdict(self)}

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Self:
        if stored.get("kind") != cls.kind:
            raise InputError(f"calibrator: found kind {stored.get('kind')!r}, expected {cls.kind!r}")
        values = {key: tuple(value) if isinstance(value, list) else value for key, value in stored.items()}
        del values["kind"]
        return cls(**values)


@dataclass(frozen=True)
class IdentityCalibrator(_Stored):
    """p = σ(z): the logits are taken at their word."""

    kind: ClassVar[str] = "identity"

    @classmethod
    def fit(cls, logits: npt.ArrayLike, labels: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> Self:
        """Return the identity, whatever the rows."""
        return cls()

    def __call__(self, logits: npt.ArrayLike) -> FloatArray:
        """Return σ(logits)."""
        return _sigmoid(np.asarray(logits, dtype=np.float64))


@dataclass(frozen=True)
class PlattCalibrator(_Stored):
    """p = σ(a z + b), a > 0 (Platt, 1999)."""

    kind: ClassVar[str] = "platt"
    a: float
    b: float

    @classmethod
    def fit(cls, logits: npt.ArrayLike, labels: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> Self:
        """Fit by maximum likelihood on Platt's smoothed targets."""
        z, y, w = _checked(logits, labels, weights)
        (a,), b = _fit_logistic(z[:, None], y, w)
        return cls(a=a, b=b)

    def __call__(self, logits: npt.ArrayLike) -> FloatArray:
        """Return probabilities in the shape of ``logits``."""
        return _sigmoid(self.a * np.asarray(logits, dtype=np.float64) + self.b)


@dataclass(frozen=True)
class BetaCalibrator(_Stored):
    """logit p = a ln s − b ln(1 − s) + c with s = σ(z), a, b > 0 (Kull, Silva Filho and Flach, 2017, eq. 3).

    Unlike Platt's, the map can bend: a acts on low scores, b on high ones; a = b is Platt's. The paper allows a or b
    to be zero; here they are at least ``MIN_SLOPE``, so that the map never goes flat.
    """

    kind: ClassVar[str] = "beta"
    a: float
    b: float
    c: float

    @classmethod
    def fit(cls, logits: npt.ArrayLike, labels: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> Self:
        """Fit a logistic regression on (ln s, −ln(1 − s)), with Platt's smoothed targets so that it stays finite."""
        z, y, w = _checked(logits, labels, weights)
        (a, b), c = _fit_logistic(cls._features(z), y, w)
        return cls(a=a, b=b, c=c)

    def __call__(self, logits: npt.ArrayLike) -> FloatArray:
        """Return probabilities in the shape of ``logits``."""
        features = self._features(np.asarray(logits, dtype=np.float64))
        return _sigmoid(features @ np.array([self.a, self.b]) + self.c)

    @staticmethod
    def _features(z: FloatArray) -> FloatArray:
        return np.stack([log_expit(z), -log_expit(-z)], axis=-1)


@dataclass(frozen=True)
class IsotonicCalibrator(_Stored):
    """Monotone regression (Zadrozny and Elkan, 2002) as knots with straight lines between, on the logit axis.

    The steps of a monotone fit tie whole stretches of rows, so a share of ``ISOTONIC_SLOPE`` of a strictly rising
    curve, ½ + atan((z − centre) / scale) / π, is mixed in; its heavy tails keep rows apart far outside the knots too.
    """

    kind: ClassVar[str] = "isotonic"
    logits: tuple[float, ...]
    probabilities: tuple[float, ...]
    centre: float
    scale: float

    @classmethod
    def fit(cls, logits: npt.ArrayLike, labels: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> Self:
        """Fit scikit-learn's isotonic regression; probabilities stay 1 / (n + 2) away from 0 and 1."""
        from sklearn.isotonic import IsotonicRegression  # half a second, which a process that scores need not wait for

        z, y, w = _checked(logits, labels, weights)
        edge = 1 / (float(w.sum()) + 2)
        fitted = IsotonicRegression(y_min=edge, y_max=1 - edge).fit(z, y, sample_weight=w)
        return cls(
            logits=tuple(fitted.X_thresholds_.tolist()),
            probabilities=tuple(fitted.y_thresholds_.tolist()),
            centre=float(np.median(z)),
            scale=float(z.std()) or 1.0,
        )

    def __call__(self, logits: npt.ArrayLike) -> FloatArray:
        """Return probabilities in the shape of ``logits``."""
        z = np.asarray(logits, dtype=np.float64)
        rising = 0.5 + np.arctan((z - self.centre) / self.scale) / np.pi
        mixed: FloatArray = (1 - ISOTONIC_SLOPE) * np.interp(
            z, self.logits, self.probabilities
        ) + ISOTONIC_SLOPE * rising
        return mixed


_CALIBRATORS: tuple[type[_Stored], ...] = (IdentityCalibrator, PlattCalibrator, BetaCalibrator, IsotonicCalibrator)


def calibrator_from_dict(stored: dict[str, Any]) -> Calibrator:
    """Return the calibrator that ``to_dict`` stored; an unknown ``kind`` is an ``InputError``."""
    kinds = {calibrator.kind: calibrator for calibrator in _CALIBRATORS}
    if stored.get("kind") not in kinds:
        raise InputError(f"calibrator: found kind {stored.get('kind')!r}, expected one of {', '.join(kinds)}")
    calibrator: Calibrator = kinds[stored["kind"]].from_dict(stored)  # type: ignore[assignment]
    return calibrator


def _checked(
    logits: npt.ArrayLike, labels: npt.ArrayLike, weights: npt.ArrayLike | None
) -> tuple[FloatArray, FloatArray, FloatArray]:
    y = binary_labels(labels)
    w = row_weights(weights, len(y))
    if not w.sum() > 0:
        raise InputError(f"weights: found a total of {w.sum():g} over {len(y)} rows, expected rows to calibrate on")
    return finite_vector("logits", logits, len(y)), y, w


def _smoothed_targets(y: FloatArray, w: FloatArray) -> FloatArray:
    """Platt's targets, (N₊ + 1) / (N₊ + 2) and 1 / (N₋ + 2): they keep a fit to separable classes finite."""
    positives, negatives = float(w @ y), float(w @ (1 - y))
    return np.where(y == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))


def _fit_logistic(features: FloatArray, y: FloatArray, weights: FloatArray) -> tuple[list[float], float]:
    """Coefficients (d,), each at least ``MIN_SLOPE``, and intercept of a logistic regression on smoothed targets.

    scikit-learn's has neither fractional targets nor bounds. A coefficient that comes out too low is held at the bound
    and the others are fitted again, as Kull et al. do.
    """
    targets = _smoothed_targets(y, weights)
    coefficients = np.full(features.shape[1], MIN_SLOPE)
    free = np.ones(len(coefficients), dtype=bool)
    while True:
        held = features[:, ~free].sum(axis=1) * MIN_SLOPE
        coefficients[free], intercept = _maximum_likelihood(features[:, free], held, targets, weights)
        low = coefficients < MIN_SLOPE
        if not low.any():
            return coefficients.tolist(), intercept
        coefficients[low] = MIN_SLOPE
        free &= ~low


def _maximum_likelihood(
    features: FloatArray, offset: FloatArray, targets: FloatArray, weights: FloatArray
) -> tuple[FloatArray, float]:
    """Newton's method in a trust region, on features standardised to be well scaled."""
    centre, scale = features.mean(axis=0), features.std(axis=0)
    scale[scale == 0] = 1
    design = np.column_stack([(features - centre) / scale, np.ones(len(features))])
    share = weights / weights.sum()

    def loss_and_gradient(parameters: FloatArray) -> tuple[float, FloatArray]:
        margin = design @ parameters + offset
        loss = -share @ (log_expit(-margin) + targets * margin)
        return float(loss), (share * (expit(margin) - targets)) @ design

    def hessian(parameters: FloatArray) -> FloatArray:
        p = expit(design @ parameters + offset)
        return np.asarray((design * (share * p * (1 - p))[:, None]).T @ design)

    prior = float(share @ targets)
    start = np.append(np.zeros(len(scale)), np.log(prior / (1 - prior)) - share @ offset)
    options = {"gtol": 1e-10, "maxiter": 100}
    fitted = minimize(loss_and_gradient, start, jac=True, hess=hessian, method="trust-exact", options=options).x
    coefficients = fitted[:-1] / scale
    return coefficients, float(fitted[-1] - coefficients @ centre)


def _sigmoid(margin: FloatArray) -> FloatArray:
    probability: FloatArray = expit(margin)
    return probability
