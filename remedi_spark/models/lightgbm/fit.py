"""LightGBM: by SynapseML, or by the native library, of one worker or in a ring of several."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from remedi_spark.config.chain import LightGBMConfig
from remedi_spark.maths.focal import best_constant
from remedi_spark.models.amounts import amount_objective, log_of_amounts
from remedi_spark.models.contract import TrainingSet
from remedi_spark.models.lightgbm.jvm.focal import check_trees
from remedi_spark.models.lightgbm.task import Focal, TaskFit, fit_in_one_task
from remedi_spark.progress import step
from remedi_spark.storage.fitted import Fitted

_GAMMA_STEP = 4.0
"""Largest step of a leaf, before the learning rate, of a log mean. Newton's step of a gamma deviance is
1 - exp(margin) / mean: where the start lies far above a leaf's amounts, as under weights of rare high ones, the first
tree would leap by thousands, and every later one be stopped."""
OBJECTIVES = {
    "logistic": ("binary", "binary_logloss"),
    "focal": ("binary", "average_precision"),  # its margins mean nothing to a log-loss
    "l2": ("regression", "l2"),
    "l1": ("regression_l1", "l1"),
    "huber": ("huber", "huber"),
    "expectile": ("none", "None"),  # loss and metric of our own
    "tweedie": ("tweedie", "tweedie"),
    "gamma": ("gamma", "gamma"),
}
"""LightGBM's objective, and what early stopping looks at."""

NATIVE_CELLS = 20_000_000
"""Numbers (rows x inputs) up to which ``engine: auto`` fits one worker inside its Spark task without SynapseML."""
_HUBER_WITHIN = 1.0
"""Standard deviations of the label within which Huber's loss is quadratic."""


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
        if self._objective(data) == "expectile":
            return True  # SynapseML takes no loss written in Python
        if self.config.engine != "auto":
            return self.config.engine == "native"
        if data.workers == 1 and data.rows * data.layout.width <= NATIVE_CELLS:
            return True
        from remedi_spark.models.lightgbm import synapse

        return not synapse.fits(data.examples)

    def _plan(self, data: TrainingSet) -> TaskFit:
        config, focal = self.config, None
        if self._objective(data) == "focal":
            start = best_constant(data.prior, config.focal_alpha, config.focal_gamma)
            focal = Focal(config.focal_alpha, config.focal_gamma, start)
        return TaskFit(
            self._parameters(data), config.num_iterations, config.early_stopping,
            data.rows <= config.refit_below, focal,
            config.expectile_level if self._objective(data) == "expectile" else None,
        )  # fmt: skip

    def _by_synapse(self, data: TrainingSet) -> tuple[str, int, float, int]:
        from remedi_spark.models.lightgbm import synapse

        plan = self._plan(data)
        text = synapse.fit(data, plan)
        return text, check_trees(text), plan.start, data.rows

    def _natively(self, data: TrainingSet) -> tuple[str, int, float, int]:
        plan = self._plan(data)
        if data.workers == 1:
            text, rows = fit_in_one_task(data, plan)
        else:
            from remedi_spark.models.lightgbm.ring import fit_in_ring

            text, rows = fit_in_ring(data, plan)
        return text, check_trees(text), plan.start, rows

    def _parameters(self, data: TrainingSet) -> dict[str, Any]:
        """Return LightGBM's parameters, by its own names."""
        config = self.config
        objective, metric = OBJECTIVES[self._objective(data)]
        real = {} if data.loss == "logistic" else {
            "alpha": _HUBER_WITHIN, "tweedie_variance_power": config.tweedie_power
        }  # fmt: skip
        if objective == "gamma":
            real["max_delta_step"] = _GAMMA_STEP
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

    def _objective(self, data: TrainingSet) -> str:
        if data.loss == "logistic":
            return "focal" if self.config.objective == "focal" else "logistic"
        return self.objective or amount_objective(self.config.objective)
