"""From a margin back to the *mean* amount: the smearing estimate (Duan, JASA 78, 1983).

The inverse of a mean on a logarithmic scale is near the median of the amounts, below their mean. Duan's estimate of the
mean adds each residual of the training rows to the prediction on the scale, goes back, and takes the mean. On ``asinh``
that needs two numbers instead of all residuals: mean sinh(a + e) = sinh(a) · mean cosh(e) + cosh(a) · mean sinh(e).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from remedi_spark.maths.checks import FloatArray, finite_vector
from remedi_spark.maths.label_scale import LARGEST_ANGLE, LabelScale

LARGEST_RESIDUAL = 100.0
"""Of an angle: beyond, a residual would make every estimate infinite."""


@dataclass(frozen=True)
class Smearing:
    """The way back from margins of a scale, to means.

    Residuals e are angles on ``asinh`` (spread × residual of the margin), amounts on ``linear``; from predictions that
    never saw their row, or they are too small.

    Attributes:
        scale: of the margins.
        even: mean cosh(e), at least 1; on ``linear`` it is not used.
        odd: mean sinh(e); on ``linear`` mean e.
    """

    scale: LabelScale
    even: float
    odd: float

    @classmethod
    def of(cls, scale: LabelScale, residuals: npt.ArrayLike) -> Smearing:
        """Return it from residuals of margins (label's less predicted), shape (n,), not empty."""
        e = np.clip(finite_vector("residuals", residuals) * scale.spread, -LARGEST_RESIDUAL, LARGEST_RESIDUAL)
        if scale.scale == "linear":
            return cls(scale, 1.0, float(e.mean()))
        return cls(scale, float(np.cosh(e).mean()), float(np.sinh(e).mean()))

    def __call__(self, margins: npt.ArrayLike) -> FloatArray:
        """Return mean amounts, in the shape of ``margins``."""
        learned = np.asarray(margins, dtype=np.float64) * self.scale.spread + self.scale.center
        if self.scale.scale == "linear":
            return np.asarray(np.maximum(learned + self.odd, self.scale.lowest))
        angle = np.clip(learned, -LARGEST_ANGLE, LARGEST_ANGLE)
        mean = self.scale.unit * (np.sinh(angle) * self.even + np.cosh(angle) * self.odd)
        return np.asarray(np.maximum(mean, self.scale.lowest))
