"""The symmetric trees of a CatBoost model as the what-if page asks them: a question a level, and a list of leaves.

A tree of six levels would be 127 nodes as the page keeps other trees, several times as many bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from remedi_spark.models.catboost.json_model import as_json
from remedi_spark.models.catboost.predict import load
from remedi_spark.storage.fitted import Fitted

UNIT = 1e-9
"""Leaves are whole numbers of it, as ``what_if_student.js`` reads them: half of it, at most, is lost a tree."""


@dataclass(frozen=True)
class SymmetricTrees:
    """A :class:`~remedi_spark.models.tree_ensemble.PageTrees`: borders of float32, above which a level's bit is set."""

    trees: list[dict[str, list[Any]]]
    start: float
    dtype: Any = np.float32

    def to_trees(self) -> list[dict[str, list[Any]]]:
        """Return of each tree ``slot``, ``value`` (the border) and ``ask`` by level, the lowest bit of a leaf's place
        first (``ask``: 2 where null lies above the border, else 1), and ``leaves`` by place, in :data:`UNIT`.
        """
        return self.trees


def trees_of(fitted: Fitted) -> SymmetricTrees | None:
    """Return the trees of a fitted model; None where they read categories, whose statistics no page has."""
    if fitted.info["categories"]:
        return None
    model = as_json(load(fitted.payload))
    features = model["features_info"]["float_features"]
    scale, bias = model["scale_and_bias"]

    def tree(one: dict[str, Any]) -> dict[str, list[Any]]:
        splits = one["splits"] or []
        slots = [split["float_feature_index"] for split in splits]
        return {
            "ask": [1 + (features[slot]["nan_value_treatment"] == "AsTrue") for slot in slots], "slot": slots,
            "value": [float(str(np.float32(split["border"]))) for split in splits],
            "leaves": [round(scale * value / UNIT) for value in one["leaf_values"]],
        }  # fmt: skip

    return SymmetricTrees([tree(one) for one in model["oblivious_trees"]], float(np.ravel(bias)[0]))
