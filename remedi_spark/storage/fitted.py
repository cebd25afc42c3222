"""A fitted model as it is stored: bytes and facts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Fitted:
    """A fitted model as bytes, free of Spark.

    Attributes:
        kind: which predictor reads the payload (``lightgbm``, ``xgboost``, ``catboost``, ``net``, ``hurdle``).
        payload: the native model.
        info: JSON-able facts of the fit (best iteration, validation curve, ``rows_used``); ``label_scale`` where the
            native model gives the log of an amount, which the predictor brings to that scale; ``shift``, added to every
            margin.
    """

    kind: str
    payload: bytes
    info: dict[str, Any] = field(default_factory=dict)
