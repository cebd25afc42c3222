"""Scores and reasons of a LightGBM, by its own library."""

from __future__ import annotations

import numpy as np

from remedi_spark.models.contract import Array
from remedi_spark.models.lightgbm.reasons import LightGBMReasons
from remedi_spark.models.reference import Reference
from remedi_spark.storage.fitted import Fitted


class LightGBMPredictor:
    """A native LightGBM booster."""

    def __init__(self, fitted: Fitted) -> None:
        import lightgbm

        self._text = fitted.payload.decode()
        self._booster = lightgbm.Booster(model_str=self._text)
        self._reasons: LightGBMReasons | None = None
        # A custom objective's starting score is not in its trees.
        self._start = float(fitted.info.get("init_score", 0.0))

    def __call__(self, x: Array) -> Array:
        """Return margins."""
        if not len(x):
            return np.empty(0)
        return np.asarray(self._booster.predict(x, raw_score=True, num_threads=1), dtype=np.float64) + self._start

    def contributions(self, x: Array, reference: Reference) -> tuple[Array, Array]:
        """Return exact baseline Shapley values and the reference row's margin."""
        if self._reasons is None or self._reasons.reference is not reference:
            self._reasons = LightGBMReasons(self._text, reference)
        values, start = self._reasons(x)
        return values, start + self._start
