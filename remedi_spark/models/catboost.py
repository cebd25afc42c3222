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
from remedi_spark.models.catboost_json import as_json, slots_of_splits
from remedi_spark.models.catboost_reasons import DEEPEST, CatBoostReasons
from remedi_spark.models.contract import TARGET, Array, FitError, TrainingSet
from remedi_spark.models.reference import Reference
from remedi_spark.models.row_caps import at_most
from remedi_spark.models.task_rows import COLUMNS, task_rows
from remedi_spark.samples.layout import Layout
from remedi_spark.spark.partitions import shape
from remedi_spark.spark.torch_partitions import run_counted
from remedi_spark.storage.fitted import Fitted

LOSSES = {"logistic": "Logloss", "l2": "RMSE", "l1": "MAE", "huber": "Huber:delta=1"}
"""CatBoost's loss, which early stopping looks at too."""


@dataclass(frozen=True)
class Columns:
    """Slots of the encoded row that are read as numbers, and those that are read as categories."""

    numbers: list[int]
    categories: list[int]

    @classmethod
    def of(cls, layout: Layout, *, native: bool) -> Columns:
        """Return all slots, codes as categories if ``native``."""
        codes = layout.where("code") if native else []
        return cls([i for i in range(layout.width) if i not in set(codes)], codes)

    def pool(self, x: Array, target: Any = None, weight: Any = None) -> Any:
        """Return encoded rows, (n, width), as CatBoost takes them."""
        from catboost import FeaturesData, Pool

        names = np.array([str(code).encode() for code in range(int(x[:, self.categories].max(initial=0)) + 1)], object)
        with np.errstate(over="ignore"):  # what no float32 holds is infinite, which a tree can compare
            numbers = np.ascontiguousarray(x[:, self.numbers], dtype=np.float32) if self.numbers else None
        categories = names[x[:, self.categories].astype(np.intp)] if self.categories else None
        rows = FeaturesData(num_feature_data=numbers, cat_feature_data=categories)
        return Pool(rows, label=target, weight=weight, thread_count=1)


@dataclass(frozen=True)
class CatBoostLearner:
    """Fits a :class:`CatBoostConfig`."""

    config: CatBoostConfig

    def fit(self, data: TrainingSet) -> Fitted:
        """Fit on all rows, or on ``max_rows`` with all positives, and keep the trees up to the best round."""
        frame = at_most(
            data.frame, self.config.max_rows, rows=data.rows, prior=data.positives / max(data.rows, 1),
            binary=data.loss == "logistic", label=TARGET,
        )  # fmt: skip
        columns = Columns.of(data.layout, native=self.config.categories)
        refit = data.rows <= self.config.refit_below
        work = _training_function(self._parameters(data), columns, data.layout.width, self.config, refit)
        (ran,) = run_counted(shape(frame, 1).select(*COLUMNS), work, 1)
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
            "l2_leaf_reg": config.l2_leaf_reg, "random_seed": data.seed, "thread_count": 1, "verbose": False,
            "allow_writing_files": False, "allow_const_label": True,
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


def load(payload: bytes) -> Any:
    """Return CatBoost's own model; nothing in the payload is executed."""
    from catboost import CatBoost

    return CatBoost().load_model(blob=payload)


class CatBoostPredictor:
    """A native CatBoost model."""

    def __init__(self, fitted: Fitted) -> None:
        self._model = load(fitted.payload)
        self._categories = list(fitted.info["categories"])
        self._reasons: CatBoostReasons | None = None

    def __call__(self, x: Array) -> Array:
        """Return margins."""
        if not len(x):
            return np.empty(0)
        return np.asarray(self._model.predict(self._columns(x).pool(x), "RawFormulaVal", thread_count=1))

    def contributions(self, x: Array, reference: Reference) -> tuple[Array, Array]:
        """Return baseline Shapley values and the reference row's margin; of deep trees, TreeSHAP's."""
        columns = self._columns(x)
        if max(self._model.get_tree_leaf_counts()) > 1 << DEEPEST:
            return self._tree_shap(columns, x, reference)
        if self._reasons is None or self._reasons.reference is not reference:
            splits = slots_of_splits(as_json(self._model), columns.numbers, columns.categories)
            (leaves,) = self._leaves(columns, reference.row[None])
            self._reasons = CatBoostReasons(self._model, splits, leaves, reference)
        start = np.repeat(self(reference.row[None]), len(x))
        return self._reasons(x, self._leaves(columns, x)), start

    def _tree_shap(self, columns: Columns, x: Array, reference: Reference) -> tuple[Array, Array]:
        values = self._model.get_feature_importance(columns.pool(x), type="ShapValues", thread_count=1)
        by_slot = np.zeros(x.shape)
        by_slot[:, [*columns.numbers, *columns.categories]] = values[:, :-1]
        return reference.by_feature(by_slot), np.asarray(values[:, -1], dtype=np.float64)

    def _leaves(self, columns: Columns, x: Array) -> Any:
        """Return the leaf of each row in each tree, (n, trees)."""
        return self._model.calc_leaf_indexes(columns.pool(x), thread_count=1).astype(np.intp)

    def _columns(self, x: Array) -> Columns:
        known = set(self._categories)
        return Columns([i for i in range(x.shape[1]) if i not in known], self._categories)
