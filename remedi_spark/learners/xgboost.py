"""XGBoost trained by ``xgboost.spark``."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from remedi_spark.config.chain import XGBoostConfig
from remedi_spark.learners.contract import ROW_WEIGHT, TARGET, VALID, FitError, Fitted, TrainingSet, X
from remedi_spark.spark.partitions import shape


@dataclass(frozen=True)
class XGBoostLearner:
    """Fits an :class:`XGBoostConfig`."""

    config: XGBoostConfig

    def fit(self, data: TrainingSet) -> Fitted:
        """Fit and keep the trees up to the best round."""
        logging.getLogger("XGBoost-PySpark").setLevel(logging.WARNING)
        frame = shape(data.frame, data.workers).select(X, TARGET, ROW_WEIGHT, VALID)
        booster = self._estimator(data, self.config.num_iterations, early_stopping=True).fit(frame).get_booster()
        trees = booster.best_iteration + 1
        if trees >= 1 and data.rows <= self.config.refit_below:
            booster = self._estimator(data, trees, early_stopping=False).fit(frame).get_booster()
            trees = booster.num_boosted_rounds()
        if trees < 1:
            raise FitError("XGBoost ended without a single tree")
        return Fitted("xgboost", bytes(booster.save_raw("ubj")), {"trees": trees})

    def _estimator(self, data: TrainingSet, rounds: int, *, early_stopping: bool) -> Any:
        from xgboost.spark import SparkXGBClassifier, SparkXGBRegressor

        kind = SparkXGBClassifier if data.loss == "logistic" else SparkXGBRegressor
        config = self.config
        stopping = {"validation_indicator_col": VALID, "early_stopping_rounds": config.early_stopping}
        return kind(
            features_col=X, label_col=TARGET, weight_col=ROW_WEIGHT,
            num_workers=data.workers, n_estimators=rounds, learning_rate=config.learning_rate,
            max_depth=config.max_depth, min_child_weight=config.min_child_weight, subsample=config.subsample,
            colsample_bytree=config.colsample_bytree, reg_lambda=config.reg_lambda, tree_method="hist",
            random_state=data.seed, verbose=False,
            eval_metric="logloss" if data.loss == "logistic" else "rmse",
            **(stopping if early_stopping else {}),
        )  # fmt: skip
