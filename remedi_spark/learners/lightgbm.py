"""LightGBM trained by SynapseML."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from remedi_spark.config.chain import LightGBMConfig
from remedi_spark.imbalance.focal import HESSIAN_FLOOR, best_constant
from remedi_spark.jvm.focal import check_trees, set_focal_objective
from remedi_spark.learners.contract import ROW_WEIGHT, TARGET, VALID, Fitted, TrainingSet, X
from remedi_spark.spark.partitions import shape

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_PORTS = itertools.count()
_FIRST_PORT, _PORT_RANGE, _PORT_STEP = 12_400, 200, 64


@dataclass(frozen=True)
class LightGBMLearner:
    """Fits a :class:`LightGBMConfig`."""

    config: LightGBMConfig

    def fit(self, data: TrainingSet) -> Fitted:
        """Fit; SynapseML swallows native errors, so the tree count is checked afterwards."""
        estimator = self._estimator(data, self.config.num_iterations)
        start = self._focal(estimator, data.prior) if self._is_focal(data) else 0.0
        text = str(estimator.fit(_vectors(data)).getNativeModel())
        trees = check_trees(text)
        if data.rows <= self.config.refit_below:
            text, trees = self._refit(data, trees)
        return Fitted("lightgbm", text.encode(), {"trees": trees, "init_score": start})

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
        return self.config.objective == "focal" and data.loss == "logistic"

    def _focal(self, estimator: Any, prior: float) -> float:
        """Give the estimator the exact focal loss; return the score that boosting starts from."""
        alpha, gamma = self.config.focal_alpha, self.config.focal_gamma
        start = best_constant(prior, alpha, gamma)
        set_focal_objective(estimator, alpha=alpha, gamma=gamma, hessian_floor=HESSIAN_FLOOR, base_score=start)
        return start

    def _estimator(self, data: TrainingSet, rounds: int) -> Any:
        from synapse.ml.lightgbm import LightGBMClassifier, LightGBMRegressor

        logistic = data.loss == "logistic"
        kind = LightGBMClassifier if logistic else LightGBMRegressor
        config = self.config
        return kind(
            featuresCol="features", labelCol=TARGET, weightCol=ROW_WEIGHT, validationIndicatorCol=VALID,
            objective="binary" if logistic else "regression", metric=self._metric(data),
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

    def _metric(self, data: TrainingSet) -> str:
        """Return what early stopping looks at; a custom objective's margins mean nothing to a log-loss."""
        if self._is_focal(data):
            return "average_precision"
        return "binary_logloss" if data.loss == "logistic" else "l2"

    def _pass_through(self) -> str:
        return "force_col_wise=true" + (" extra_trees=true" if self.config.extra_trees else "")


def _vectors(data: TrainingSet) -> DataFrame:
    from pyspark.ml.functions import array_to_vector
    from pyspark.sql import functions as F

    frame = data.frame.withColumn("features", array_to_vector(F.col(X)))
    return shape(frame, data.workers).select("features", TARGET, ROW_WEIGHT, VALID)
