"""The scale on which a regression is learned, and the way back to the label's unit."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt

from remedi_spark.errors import InputError
from remedi_spark.maths.calibrators import Calibrator, calibrator_from_dict
from remedi_spark.maths.checks import FloatArray

LARGEST_ANGLE = 300.0
"""sinh of more than about 710 is infinite."""


@dataclass(frozen=True)
class LabelScale:
    """margin = (g(label) − center) / spread, with g the identity or asinh(label / unit).

    Margins have mean 0 and deviation 1 over the training labels, whatever the label's unit: learning rates, penalties
    and the relative features of the models then mean the same for every label. It stands in a bundle where a
    classification has its calibrator.

    Attributes:
        scale: ``linear`` or ``asinh``.
        unit: what ``asinh`` divides by, above 0: far below it g is linear, far above it logarithmic.
        center: mean of g over the training labels.
        spread: standard deviation of g over the training labels, above 0.
        lowest: no prediction is below this; −inf: no bound.
    """

    kind: ClassVar[str] = "label_scale"
    scale: Literal["linear", "asinh"]
    unit: float
    center: float
    spread: float
    lowest: float

    def margin(self, labels: npt.ArrayLike) -> FloatArray:
        """Return margins of labels, any shape."""
        y = np.asarray(labels, dtype=np.float64)
        learned = np.arcsinh(y / self.unit) if self.scale == "asinh" else y
        return np.asarray((learned - self.center) / self.spread)

    def __call__(self, margins: npt.ArrayLike) -> FloatArray:
        """Return predictions in the label's unit, in the shape of ``margins``."""
        learned = np.asarray(margins, dtype=np.float64) * self.spread + self.center
        if self.scale == "asinh":
            learned = np.sinh(np.clip(learned, -LARGEST_ANGLE, LARGEST_ANGLE)) * self.unit
        return np.asarray(np.maximum(learned, self.lowest))

    def to_dict(self) -> dict[str, Any]:
        """Return numbers and strings for JSON."""
        return {"kind": self.kind, **asdict(self)}

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Self:
        """Return what :meth:`to_dict` stored."""
        if stored.get("kind") != cls.kind:
            raise InputError(f"label scale: found kind {stored.get('kind')!r}, expected {cls.kind!r}")
        return cls(**{name: value for name, value in stored.items() if name != "kind"})


ScoreMap = Calibrator | LabelScale
"""From a model's margin to what is published: a probability, or an amount."""


def score_map_from_dict(stored: dict[str, Any]) -> ScoreMap:
    """Return the calibrator or the label scale that ``to_dict`` stored."""
    return LabelScale.from_dict(stored) if stored.get("kind") == LabelScale.kind else calibrator_from_dict(stored)
