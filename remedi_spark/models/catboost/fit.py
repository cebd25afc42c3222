"""CatBoost (Prokhorenkova et al., arXiv 1706.09516) inside one Spark task: symmetric trees, and categories by ordered
target statistics.

Its trees ask the same question at every node of a level, which keeps them smooth: where the later period differs from
the rows trained on, it was the member that ranked best.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from remedi_spark.config.chain import CatBoostConfig
from remedi_spark.models.amounts import amount_objective
from remedi_spark.models.catboost.predict import Columns, load
from remedi_spark.models.contract import FitError, TrainingSet
from remedi_spark.models.task_rows import COLUMNS, task_rows
from remedi_spark.storage.fitted import Fitted

LOSSES = {"logistic": "Logloss", "l2": "RMSE", "l1": "MAE", "huber": "Huber:delta=1"}
"""CatBoost's loss, which early stopping looks at too."""


@dataclass(frozen=True)
class CatBoostLearner:
    """Fits a :class:`CatBoostConfig`."""

    config: CatBoostConfig

    def fit(self, data: TrainingSet) -> Fitted:
        """Fit on all rows, or on ``max_rows`` with the positives, and keep the trees up to the best round."""
        positives = data.positives if data.loss == "logistic" else 0
        examples = data.examples.at_most(self.config.max_rows, rows=data.rows, positives=positives)
        columns = Columns.of(data.layout, native=self.config.categories)
        refit = data.rows <= self.config.refit_below
        work = _training_function(self._parameters(data), columns, data.layout.width, self.config, refit)
        (ran,) = examples.run(work, COLUMNS, 1)
        payload = ran.result
        trees = load(payload).tree_count_
        if trees < 1:
            raise FitError("CatBoost ended without a single tree")
        return Fitted("catboost", payload, {
            "trees": int(trees), "categories": columns.categories, "rows_used": ran.rows
        })  # fmt: skip

    def _parameters(self, data: TrainingSet) -> dict[str, Any]:
        config = self.config
        objective = "logistic" if data.loss == "logistic" else amount_objective(config.objective)
        return {
            "loss_function": LOSSES[objective], "learning_rate": config.learning_rate, "depth": config.depth,
            "l2_leaf_reg": config.l2_leaf_reg, "rsm": config.feature_fraction, "random_seed": data.seed,
            "thread_count": 1, "verbose": False, "allow_writing_files": False, "allow_const_label": True,
        }  # fmt: skip


def _training_function(
    parameters: dict[str, Any], columns: Columns, width: int, config: CatBoostConfig, refit: bool
) -> Callable[[pa.Table], bytes]:
    """Return what the task runs; it captures plain values only."""
    rounds, patience = config.num_iterations, config.early_stopping

    def work(table: pa.Table) -> bytes:
        from catboost import CatBoost

        x, target, weight, valid = task_rows(table, width)

        def part(chosen: Any) -> Any:
            return columns.pool(x[chosen], target[chosen], weight[chosen])

        model = CatBoost({**parameters, "iterations": rounds})
        model.fit(part(~valid), eval_set=part(valid), early_stopping_rounds=patience, use_best_model=True)
        if refit and model.tree_count_:
            best = model.tree_count_
            model = CatBoost({**parameters, "iterations": best})
            model.fit(part(np.ones(len(target), dtype=bool)))
        return serialized(model)

    return work


def serialized(model: Any) -> bytes:
    """Return a model in CatBoost's own format."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.cbm"
        model.save_model(str(path))
        return path.read_bytes()
