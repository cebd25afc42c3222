"""A CatBoost model as CatBoost's own JSON, and which inputs its splits read."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any


def as_json(model: Any, pool: Any = None) -> dict[str, Any]:
    """Return a model as JSON; with a pool it names the hash of every category that the pool has."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.json"
        model.save_model(str(path), format="json", pool=pool)
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found


def statistic_of_split(features: dict[str, Any]) -> dict[int, int]:
    """Return which statistic a split of that index reads: borders of numbers come first, then levels, then these."""
    index = sum(len(one["borders"] or []) for one in features["float_features"])
    index += sum(len(one.get("values") or []) for one in features.get("categorical_features", []))
    found = {}
    for number, ctr in enumerate(features.get("ctrs") or []):
        for _ in ctr["borders"]:
            found[index] = number
            index += 1
    return found


def slots_of_splits(tree: dict[str, Any], numbers: list[int], categories: list[int]) -> list[list[frozenset[int]]]:
    """Return, tree by tree and level by level, the slots that the level's split reads; the lowest bit's level is first.

    Args:
        tree: from :func:`as_json`.
        numbers, categories: slots of the model's columns.
    """
    features: dict[str, Any] = tree["features_info"]
    statistics = statistic_of_split(features)

    def slot(one: dict[str, Any]) -> int:
        number: int | None = one.get("float_feature_index")
        return categories[one["cat_feature_index"]] if number is None else numbers[number]

    def read(split: dict[str, Any]) -> frozenset[int]:
        if split["split_type"] != "OnlineCtr":
            return frozenset([slot(split)])
        return frozenset(map(slot, features["ctrs"][statistics[split["split_index"]]]["elements"]))

    return [[read(split) for split in one["splits"] or []] for one in tree["oblivious_trees"]]
