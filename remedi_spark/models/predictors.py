"""Native scoring and explaining without Spark, one thread a task."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np

from remedi_spark.models.amounts import Mapped, on_scale
from remedi_spark.models.contract import Array, Predictor
from remedi_spark.models.lightgbm_reasons import LightGBMReasons
from remedi_spark.models.reference import Reference
from remedi_spark.models.registry import predictor_of
from remedi_spark.storage.fitted import Fitted


def load_predictor(fitted: Fitted) -> Predictor:
    """Return the predictor of a fitted model; load it once per task, not once per batch."""
    predictor, slope, shift = on_scale(predictor_of(fitted), fitted.info), fitted.slope, fitted.shift
    if (slope, shift) == (1.0, 0.0):
        return predictor
    return Mapped(predictor, lambda margin: slope * margin + shift)


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


class XGBoostPredictor:
    """A native XGBoost booster, up to its best round."""

    def __init__(self, fitted: Fitted) -> None:
        import xgboost

        self._booster = xgboost.Booster()
        self._booster.load_model(bytearray(fitted.payload))
        self._booster.set_param({"nthread": 1})
        self._rounds = (0, int(fitted.info["trees"]))

    def __call__(self, x: Array) -> Array:
        """Return margins."""
        return self._predict(x, output_margin=True) if len(x) else np.empty(0)

    def contributions(self, x: Array, reference: Reference) -> tuple[Array, Array]:
        """Return TreeSHAP values and the expected margin: the mean training row is what rows are explained against."""
        values = self._predict(x, pred_contribs=True)
        return reference.by_feature(values[:, :-1]), values[:, -1]

    def _predict(self, x: Array, **how: bool) -> Array:
        import xgboost

        matrix = xgboost.DMatrix(x, nthread=1)
        return np.asarray(self._booster.predict(matrix, iteration_range=self._rounds, **how), dtype=np.float64)


class NetPredictor:
    """A torch net."""

    def __init__(self, fitted: Fitted) -> None:
        import torch

        from remedi_spark.models.nets.models import build

        stored = torch.load(io.BytesIO(fitted.payload), weights_only=True)
        self._net: Any = build(stored["spec"])
        self._net.load_state_dict(stored["state"])
        self._net.eval()
        self._pool = bool(stored["pool"])

    def __call__(self, x: Array) -> Array:
        """Return margins."""
        from remedi_spark.models.nets.training import margin

        return margin(self._net, x, pool=self._pool)

    def contributions(self, x: Array, reference: Reference) -> tuple[Array, Array]:
        """Return integrated gradients from the net's own reference row, and that row's margin."""
        from remedi_spark.models.nets.attribution import integrated_gradients

        by_slot, start = integrated_gradients(self._net, x, pool=self._pool)
        return reference.by_feature(by_slot), start


def hurdle(fitted: Fitted) -> Predictor:
    """Return the two boosters of a hurdle model as one predictor."""
    from remedi_spark.models.hurdle import HurdlePredictor

    parts = json.loads(fitted.payload)
    occurs, amount = (LightGBMPredictor(Fitted("lightgbm", parts[name].encode())) for name in ("occurs", "amount"))
    return HurdlePredictor(occurs, amount)
