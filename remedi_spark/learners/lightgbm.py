"""LightGBM trained by SynapseML."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from remedi_spark.config.chain import LightGBMConfig
from remedi_spark.imbalance.focal import HESSIAN_FLOOR, best_constant
from remedi_spark.jvm.focal import check_trees, set_focal_objective
from remedi_spark.learners.amounts import amount_objective, log_of_amounts
from remedi_spark.learners.contract import ROW_WEIGHT, TARGET, VALID, Fitted, TrainingSet, X
from remedi_spark.spark.partitions import shape

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

OBJECTIVES = {
    "logistic": ("binary", "binary_logloss"),
    "focal": ("binary", "average_precision"),  # its margins mean nothing to a log-loss
    "l2": ("regression", "l2"),
    "l1": ("regression_l1", "l1"),
    "huber": ("huber", "huber"),
    "tweedie": ("tweedie", "tweedie"),
    "gamma": ("gamma", "gamma"),
}
"""LightGBM's objective, and what early stopping looks at."""

_PORTS = itertools.count()
_HUBER_WITHIN = 1.0
"""Standard deviations of the label within which Huber's loss is quadratic."""
_FIRST_PORT, _PORT_RANGE, _PORT_STEP = 12_400, 200, 64


@dataclass(frozen=True)
class LightGBMLearner:
    """Fits a :class:`LightGBMConfig`; ``objective`` stands in for the configured one."""

    config: LightGBMConfig
    objective: str | None = None

    def fit(self, data: TrainingSet) -> Fitted:
        """Fit; SynapseML swallows native errors, so the tree count is checked afterwards."""
        data, facts = log_of_amounts(data) if self._objective(data) == "tweedie" else (data, {})
        estimator = self._estimator(data, self.config.num_iterations)
        start = self._focal(estimator, data.prior) if self._is_focal(data) else 0.0
        text = str(estimator.fit(_vectors(data)).getNativeModel())
        trees = check_trees(text)
        if data.rows <= self.config.refit_below:
            text, trees = self._refit(data, trees)
        return Fitted("lightgbm", text.encode(), {"trees": trees, "init_score": start, **facts})

    def _refit(self, data: TrainingSet, rounds: int) -> tuple[str, int]:
        """Fit on all rows: a sixth more of them tells more than it would cost to stop a little early or late."""
        estimator = self._estimator(data, rounds)
        estimator.clear(estimator.validationIndicatorCol)
        estimator.setEarlyStoppingRound(0)
        if self._is_focal(data):
            self._focal(estimator, data.prior)
        text = str(estimator.fit(_vectors(data)).getNativeModel())
        return text, check_trees(text)

    def _is_focal(self, data: TrainingSet) -> bool:
        return self._objective(data) == "focal"

    def _objective(self, data: TrainingSet) -> str:
        if data.loss == "logistic":
            return "focal" if self.config.objective == "focal" else "logistic"
        return self.objective or amount_objective(self.config.objective)

    def _focal(self, estimator: Any, prior: float) -> float:
        """Give the estimator the exact focal loss; return the score that boosting starts from."""
        alpha, gamma = self.config.focal_alpha, self.config.focal_gamma
        start = best_constant(prior, alpha, gamma)
        set_focal_objective(estimator, alpha=alpha, gamma=gamma, hessian_floor=HESSIAN_FLOOR, base_score=start)
        return start

    def _estimator(self, data: TrainingSet, rounds: int) -> Any:
        from synapse.ml.lightgbm import LightGBMClassifier, LightGBMRegressor

        config = self.config
        objective, metric = OBJECTIVES[self._objective(data)]
        logistic = data.loss == "logistic"
        kind = LightGBMClassifier if logistic else LightGBMRegressor
        own = {} if logistic else {"alpha": _HUBER_WITHIN, "tweedieVariancePower": config.tweedie_power}
        return kind(
            featuresCol="features", labelCol=TARGET, weightCol=ROW_WEIGHT, validationIndicatorCol=VALID,
            objective=objective, metric=metric, **own,
            numIterations=rounds, learningRate=config.learning_rate, numLeaves=config.num_leaves,
            maxDepth=config.max_depth, minDataInLeaf=config.min_data_in_leaf, lambdaL1=config.lambda_l1,
            lambdaL2=config.lambda_l2, maxBin=config.max_bin, earlyStoppingRound=config.early_stopping,
            featureFraction=config.feature_fraction, baggingFraction=config.bagging_fraction,
            baggingFreq=1 if config.bagging_fraction < 1 else 0,
            # Several fits run side by side: each needs ports of its own.
            defaultListenPort=_FIRST_PORT + _PORT_STEP * (next(_PORTS) % _PORT_RANGE),
            # Streaming mode can crash on tiny data; in bulk mode one task holds its rows as one matrix.
            dataTransferMode="bulk", numTasks=data.workers, numThreads=1, verbosity=-1,
            deterministic=True, seed=data.seed, baggingSeed=data.seed, featureFractionSeed=data.seed,
            extraSeed=data.seed, passThroughArgs=self._pass_through(),
        )  # fmt: skip

    def _pass_through(self) -> str:
        return "force_col_wise=true" + (" extra_trees=true" if self.config.extra_trees else "")


def _vectors(data: TrainingSet) -> DataFrame:
    from pyspark.ml.functions import array_to_vector
    from pyspark.sql import functions as F

    frame = data.frame.withColumn("features", array_to_vector(F.col(X)))
    return shape(frame, data.workers).select("features", TARGET, ROW_WEIGHT, VALID)
