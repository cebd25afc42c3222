"""Scores and reasons (TreeSHAP) of an XGBoost model, by its own library."""

from __future__ import annotations

import numpy as np

from remedi_spark.models.contract import Array
from remedi_spark.models.reference import Reference
from remedi_spark.storage.fitted import Fitted


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
        return reference.by_player(values[:, :-1]), values[:, -1]

    def _predict(self, x: Array, **how: bool) -> Array:
        import xgboost

        matrix = xgboost.DMatrix(x, nthread=1)
        return np.asarray(self._booster.predict(matrix, iteration_range=self._rounds, **how), dtype=np.float64)
