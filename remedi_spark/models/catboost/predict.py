"""Scores and reasons of a CatBoost model, by its own library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from remedi_spark.models.catboost.json_model import as_json, slots_of_splits
from remedi_spark.models.catboost.reasons import DEEPEST, CatBoostReasons
from remedi_spark.models.contract import Array
from remedi_spark.models.reference import Reference
from remedi_spark.samples.layout import Layout
from remedi_spark.storage.fitted import Fitted


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
        return reference.by_player(by_slot), np.asarray(values[:, -1], dtype=np.float64)

    def _leaves(self, columns: Columns, x: Array) -> Any:
        """Return the leaf of each row in each tree, (n, trees)."""
        return self._model.calc_leaf_indexes(columns.pool(x), thread_count=1).view(np.int32)

    def _columns(self, x: Array) -> Columns:
        known = set(self._categories)
        return Columns([i for i in range(x.shape[1]) if i not in known], self._categories)
