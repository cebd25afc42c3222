"""XGBoost: by ``xgboost.spark`` over several workers, by the library itself inside one task where one is enough.

Over Spark Connect several workers join by the library's own collectives (:mod:`remedi_spark.models.xgboost.ring`).

``xgboost.spark`` synchronises its workers by Spark's barrier, whose every call waits a second or more even when there
is but one worker: on some thousand rows that is nearly all of the time. The trees are those of the same library.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from remedi_spark.config.chain import XGBoostConfig
from remedi_spark.models.amounts import amount_objective, log_of_amounts
from remedi_spark.models.contract import FitError, TrainingSet
from remedi_spark.models.task_rows import COLUMNS, task_rows
from remedi_spark.models.xgboost.ring import joined
from remedi_spark.spark.ran import Ran
from remedi_spark.storage.fitted import Fitted

OBJECTIVES = {
    "logistic": ("binary:logistic", "logloss"),
    "l2": ("reg:squarederror", "rmse"),
    "l1": ("reg:absoluteerror", "mae"),
    "huber": ("reg:pseudohubererror", "mphe"),
    "tweedie": ("reg:tweedie", "tweedie-nloglik@{power}"),
}
"""Objective and what early stopping looks at."""


@dataclass(frozen=True)
class XGBoostLearner:
    """Fits an :class:`XGBoostConfig`."""

    config: XGBoostConfig

    def fit(self, data: TrainingSet) -> Fitted:
        """Fit and keep the trees up to the best round."""
        refit = data.rows <= self.config.refit_below
        data, facts = log_of_amounts(data) if self._objective(data) == "tweedie" else (data, {})
        if data.workers == 1:
            ran = self._fit_in_one_task(data, refit)
            payload, rows = ran.result, ran.rows
        else:
            payload, rows = self._fit_together(data, refit), data.rows
        trees = _load(payload).num_boosted_rounds()
        if trees < 1:
            raise FitError("XGBoost ended without a single tree")
        return Fitted("xgboost", payload, {"trees": trees, "rows_used": rows, **facts})

    def _fit_in_one_task(self, data: TrainingSet, refit: bool) -> Ran:
        work = _training_function(self._parameters(data), self.config, data.layout.width, refit)
        return data.examples.run(work, COLUMNS, 1)[0]

    def _fit_together(self, data: TrainingSet, refit: bool) -> bytes:
        from remedi_spark.models.xgboost import together

        if together.fits(data.examples):
            return together.fit(data, self.config, self._parameters(data), refit=refit)
        work = _training_function(self._parameters(data), self.config, data.layout.width, refit)
        return data.examples.run(joined(work), COLUMNS, data.workers)[0].result

    def _parameters(self, data: TrainingSet) -> dict[str, Any]:
        config, name = self.config, self._objective(data)
        objective, metric = OBJECTIVES[name]
        power = {"tweedie_variance_power": config.tweedie_power} if name == "tweedie" else {}
        return {
            "learning_rate": config.learning_rate, "max_depth": config.max_depth,
            "min_child_weight": config.min_child_weight, "subsample": config.subsample,
            "colsample_bytree": config.colsample_bytree, "reg_lambda": config.reg_lambda, "tree_method": "hist",
            "eval_metric": metric.format(power=config.tweedie_power), "objective": objective,
            "seed": data.seed, "nthread": 1, **power,
        }  # fmt: skip

    def _objective(self, data: TrainingSet) -> str:
        return "logistic" if data.loss == "logistic" else amount_objective(self.config.objective)


def _training_function(
    parameters: dict[str, Any], config: XGBoostConfig, width: int, refit: bool
) -> Callable[[pa.Table], bytes]:
    """Return what the task runs; it captures plain values only."""
    rounds, patience = config.num_iterations, config.early_stopping

    def work(table: pa.Table) -> bytes:
        import xgboost

        x, target, weight, valid = task_rows(table, width)

        def part(chosen: Any) -> Any:
            return xgboost.DMatrix(x[chosen], label=target[chosen], weight=weight[chosen])

        watched = [(part(valid), "valid")]
        booster = xgboost.train(
            parameters, part(~valid), rounds, evals=watched, early_stopping_rounds=patience, verbose_eval=False,
        )  # fmt: skip
        best = booster.best_iteration + 1
        booster = xgboost.train(parameters, part(np.ones(len(target), dtype=bool)), best) if refit else booster[:best]
        return bytes(booster.save_raw("ubj"))

    return work


def _load(payload: bytes) -> Any:
    import xgboost

    booster = xgboost.Booster()
    booster.load_model(bytearray(payload))
    return booster
