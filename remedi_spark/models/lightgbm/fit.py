"""LightGBM: by SynapseML, or by the native library, inside one Spark task or in a ring of several."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from remedi_spark.config.chain import LightGBMConfig
from remedi_spark.maths.focal import HESSIAN_FLOOR, best_constant
from remedi_spark.models.amounts import amount_objective, log_of_amounts
from remedi_spark.models.contract import ROW_WEIGHT, TARGET, VALID, TrainingSet, X
from remedi_spark.models.lightgbm.jvm.focal import check_trees, set_focal_objective
from remedi_spark.models.lightgbm.ring import fit_in_ring
from remedi_spark.models.lightgbm.task import Focal, TaskFit, fit_in_one_task
from remedi_spark.progress import step
from remedi_spark.spark.jvm import has_synapseml
from remedi_spark.spark.partitions import shape
from remedi_spark.storage.fitted import Fitted

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

NATIVE_CELLS = 20_000_000
"""Numbers (rows x inputs) up to which ``engine: auto`` fits one worker inside its Spark task without SynapseML."""
_PASSED_THROUGH = ("force_col_wise", "extra_trees")
"""What SynapseML has no parameter of its own for."""
_PORTS = itertools.count()
_HUBER_WITHIN = 1.0
"""Standard deviations of the label within which Huber's loss is quadratic."""
_MEETING_SECONDS = 300.0
"""How long SynapseML's tasks and its thread on the driver wait for one another. Where a task was lost, that thread
keeps the driver from ending for as long: 20 minutes by default."""
_FIRST_PORT, _PORT_RANGE, _PORT_STEP = 12_400, 200, 64


@dataclass(frozen=True)
class LightGBMLearner:
    """Fits a :class:`LightGBMConfig`; ``objective`` stands in for the configured one."""

    config: LightGBMConfig
    objective: str | None = None

    def fit(self, data: TrainingSet) -> Fitted:
        """Fit; a native error may leave an empty model, so the tree count is checked afterwards."""
        data, facts = log_of_amounts(data) if self._objective(data) == "tweedie" else (data, {})
        native = self._is_native(data)
        by = "SynapseML" if not native else "the native library" if data.workers == 1 else "the native library's ring"
        step("fit", f"LightGBM on {data.workers} worker(s) by {by}", engine=by, workers=data.workers)
        text, trees, start, rows = self._natively(data) if native else self._by_synapse(data)
        return Fitted("lightgbm", text.encode(), {"trees": trees, "init_score": start, "rows_used": rows, **facts})

    def _is_native(self, data: TrainingSet) -> bool:
        if self.config.engine != "auto":
            return self.config.engine == "native"
        small = data.workers == 1 and data.rows * data.layout.width <= NATIVE_CELLS
        return small or not has_synapseml(data.frame.sparkSession)

    def _natively(self, data: TrainingSet) -> tuple[str, int, float, int]:
        config, focal = self.config, None
        if self._is_focal(data):
            start = best_constant(data.prior, config.focal_alpha, config.focal_gamma)
            focal = Focal(config.focal_alpha, config.focal_gamma, start)
        plan = TaskFit(
            self._parameters(data), config.num_iterations, config.early_stopping,
            data.rows <= config.refit_below, focal,
        )  # fmt: skip
        text, rows = fit_in_one_task(data, plan) if data.workers == 1 else fit_in_ring(data, plan)
        return text, check_trees(text), focal.start if focal else 0.0, rows

    def _parameters(self, data: TrainingSet) -> dict[str, Any]:
        """Return LightGBM's parameters, by its own names."""
        config = self.config
        objective, metric = OBJECTIVES[self._objective(data)]
        real = {} if data.loss == "logistic" else {
            "alpha": _HUBER_WITHIN, "tweedie_variance_power": config.tweedie_power
        }  # fmt: skip
        return {
            "objective": objective, "metric": metric, **real, "learning_rate": config.learning_rate,
            "num_leaves": config.num_leaves, "max_depth": config.max_depth,
            "min_data_in_leaf": config.min_data_in_leaf, "lambda_l1": config.lambda_l1, "lambda_l2": config.lambda_l2,
            "max_bin": config.max_bin, "feature_fraction": config.feature_fraction,
            "bagging_fraction": config.bagging_fraction, "bagging_freq": 1 if config.bagging_fraction < 1 else 0,
            "num_threads": 1, "verbosity": -1, "deterministic": True,
            **{f"{what}seed": data.seed for what in ("", "bagging_", "feature_fraction_", "extra_")},
            "force_col_wise": True, "extra_trees": config.extra_trees,
        }  # fmt: skip

    def _by_synapse(self, data: TrainingSet) -> tuple[str, int, float, int]:
        estimator = self._estimator(data, self.config.num_iterations)
        start = self._focal(estimator, data.prior) if self._is_focal(data) else 0.0
        text = str(estimator.fit(_vectors(data)).getNativeModel())
        trees = check_trees(text)
        if data.rows <= self.config.refit_below:
            text, trees = self._refit(data, trees)
        return text, trees, start, data.rows

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

        parameters = self._parameters(data)
        passed = [f"{name}={str(parameters.pop(name)).lower()}" for name in _PASSED_THROUGH]
        kind = LightGBMClassifier if data.loss == "logistic" else LightGBMRegressor
        return kind(
            featuresCol="features", labelCol=TARGET, weightCol=ROW_WEIGHT, validationIndicatorCol=VALID,
            numIterations=rounds, earlyStoppingRound=self.config.early_stopping,
            # Several fits run side by side: each needs ports of its own.
            defaultListenPort=_FIRST_PORT + _PORT_STEP * (next(_PORTS) % _PORT_RANGE),
            # Streaming mode can crash on tiny data; in bulk mode one task holds its rows as one matrix.
            dataTransferMode="bulk", numTasks=data.workers, timeout=_MEETING_SECONDS, passThroughArgs=" ".join(passed),
            **{_camel_case(name): value for name, value in parameters.items()},
        )  # fmt: skip


def _camel_case(name: str) -> str:
    """Return SynapseML's name of a parameter of LightGBM."""
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def _vectors(data: TrainingSet) -> DataFrame:
    from pyspark.ml.functions import array_to_vector
    from pyspark.sql import functions as F

    frame = data.frame.withColumn("features", array_to_vector(F.col(X)))
    return shape(frame, data.workers).select("features", TARGET, ROW_WEIGHT, VALID)
