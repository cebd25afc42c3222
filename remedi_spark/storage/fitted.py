"""A fitted model as it is stored: bytes and facts."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Fitted:
    """A fitted model as bytes, free of Spark.

    Attributes:
        kind: which predictor reads the payload (``lightgbm``, ``xgboost``, ``catboost``, ``net``, ``hurdle``).
        payload: the native model.
        info: JSON-able facts of the fit (best iteration, validation curve, ``rows_used``); ``label_scale`` where the
            native model gives the log of an amount, which the predictor brings to that scale; ``slope`` and ``shift``:
            its margin is slope x what the native model gives + shift.
    """

    kind: str
    payload: bytes
    info: dict[str, Any] = field(default_factory=dict)

    @property
    def slope(self) -> float:
        """What the native model's margins are multiplied by."""
        return float(self.info.get("slope", 1.0))

    @property
    def shift(self) -> float:
        """What is then added to them."""
        return float(self.info.get("shift", 0.0))

    def on_line(self, slope: float, shift: float) -> Fitted:
        """Return the model whose margins are slope x this one's + shift."""
        line = {"slope": slope * self.slope, "shift": slope * self.shift + shift}
        return replace(self, info={**self.info, **line})
