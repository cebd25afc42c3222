"""Boosted trees as ONNX tree ensembles.

Written from the boosters' own dumps: onnxmltools' converters round LightGBM's float64 thresholds to float32, which can
send a value that lies on a threshold the other way. Here LightGBM's are kept in float64; XGBoost compares in float32.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from remedi_spark.errors import InputError
from remedi_spark.storage.fitted import Fitted

_NODE: tuple[str, ...] = (
    "nodes_treeids", "nodes_nodeids", "nodes_modes", "nodes_featureids", "nodes_truenodeids", "nodes_falsenodeids",
    "nodes_missing_value_tracks_true",
)  # fmt: skip


@dataclass
class Ensemble:
    """The attributes of ``TreeEnsembleRegressor``, in lists that grow a node at a time."""

    dtype: Any
    nodes: dict[str, list[Any]] = field(default_factory=lambda: {name: [] for name in _NODE})
    values: list[float] = field(default_factory=list)
    leaves: list[tuple[int, int, float]] = field(default_factory=list)
    start: float = 0.0

    def branch(self, tree: int, node: int, mode: str, feature: int, value: float, nan_true: bool) -> int:
        """Add an inner node without its children; return its place."""
        return self._add(tree, node, mode, feature, value, nan_true)

    def leaf(self, tree: int, node: int, weight: float) -> None:
        """Add a leaf."""
        self._add(tree, node, "LEAF", 0, 0.0, False)
        self.leaves.append((tree, node, weight))

    def children(self, place: int, when_true: int, when_false: int) -> None:
        """Say where a branch leads."""
        self.nodes["nodes_truenodeids"][place] = when_true
        self.nodes["nodes_falsenodeids"][place] = when_false

    def _add(self, tree: int, node: int, mode: str, feature: int, value: float, nan_true: bool) -> int:
        for name, entry in zip(_NODE, (tree, node, mode, feature, 0, 0, int(nan_true)), strict=True):
            self.nodes[name].append(entry)
        self.values.append(value)
        return len(self.values) - 1

    def to_node(self, x: str, out: str) -> onnx.NodeProto:
        """Return the ONNX node from rows ``x`` to margins less ``start``, shape (rows, 1)."""
        trees, nodes, weights = zip(*self.leaves, strict=True)
        attributes: dict[str, Any] = dict(self.nodes)
        for name, values in (("nodes_values", self.values), ("target_weights", weights)):
            if self.dtype == np.float64:
                attributes[f"{name}_as_tensor"] = numpy_helper.from_array(np.asarray(values, dtype=np.float64), name)
            else:
                attributes[name] = [float(np.float32(value)) for value in values]
        return helper.make_node(
            "TreeEnsembleRegressor", [x], [out], domain="ai.onnx.ml", n_targets=1, aggregate_function="SUM",
            post_transform="NONE", target_treeids=trees, target_nodeids=nodes, target_ids=[0] * len(trees),
            **attributes,
        )  # fmt: skip


def tree_ensemble(fitted: Fitted) -> Ensemble:
    """Return a fitted LightGBM or XGBoost model as an ensemble.

    Raises:
        InputError: another kind of model.
    """
    if fitted.kind not in _READERS:
        expected = ", ".join(_READERS)
        raise InputError(
            f"--onnx: a part of the student is a {fitted.kind} model, expected {expected} or a net; train with "
            "--set student.kind=distilled and without such a part"
        )
    return _READERS[fitted.kind](fitted)


def _lightgbm(fitted: Fitted) -> Ensemble:
    import lightgbm

    dump = lightgbm.Booster(model_str=fitted.payload.decode()).dump_model()
    ensemble = Ensemble(np.float64, start=float(fitted.info.get("init_score", 0.0)))
    for tree, one in enumerate(dump["tree_info"]):
        ids = iter(range(1 << 30))
        _walk_lightgbm(ensemble, tree, one["tree_structure"], ids)
    return ensemble


def _walk_lightgbm(ensemble: Ensemble, tree: int, node: dict[str, Any], ids: Iterator[int]) -> int:
    """Add a subtree; return the id of its root."""
    here = next(ids)
    if "split_feature" not in node:
        ensemble.leaf(tree, here, node["leaf_value"])
        return here
    if node["missing_type"] == "Zero":
        raise InputError("--onnx: a LightGBM model with zero_as_missing; ONNX has no such branch, train without it")
    feature = node["split_feature"]
    if node["decision_type"] == "==":
        return _levels(ensemble, tree, node, here, ids)
    threshold = float(node["threshold"])
    # Without a missing type LightGBM reads null as 0.
    to_left = node["default_left"] if node["missing_type"] == "NaN" else threshold >= 0
    place = ensemble.branch(tree, here, "BRANCH_LEQ", feature, threshold, to_left)
    left = _walk_lightgbm(ensemble, tree, node["left_child"], ids)
    ensemble.children(place, left, _walk_lightgbm(ensemble, tree, node["right_child"], ids))
    return here


def _levels(ensemble: Ensemble, tree: int, node: dict[str, Any], here: int, ids: Iterator[int]) -> int:
    """Add a split by a set of codes: a chain of comparisons that share the left child."""
    codes = [float(code) for code in str(node["threshold"]).split("||")]
    chain = [here, *(next(ids) for _ in codes[1:])]
    places = [
        ensemble.branch(tree, at, "BRANCH_EQ", node["split_feature"], code, False)
        for at, code in zip(chain, codes, strict=True)
    ]
    left = _walk_lightgbm(ensemble, tree, node["left_child"], ids)
    right = _walk_lightgbm(ensemble, tree, node["right_child"], ids)
    for place, after in zip(places, [*chain[1:], right], strict=True):
        ensemble.children(place, left, after)
    return here


def _xgboost(fitted: Fitted) -> Ensemble:
    import xgboost

    booster = xgboost.Booster()
    booster.load_model(bytearray(fitted.payload))
    learner = json.loads(booster.save_raw("json"))["learner"]
    start = float(learner["learner_model_param"]["base_score"].strip("[]"))
    if "logistic" in learner["objective"]["name"]:
        start = math.log(start) - math.log1p(-start)
    ensemble = Ensemble(np.float32, start=start)
    trees = learner["gradient_booster"]["model"]["trees"][: int(fitted.info["trees"])]
    for number, tree in enumerate(trees):
        columns = ("left_children", "right_children", "split_indices", "split_conditions", "default_left")
        for node, (left, right, feature, value, default) in enumerate(zip(*(tree[c] for c in columns), strict=True)):
            if left < 0:
                ensemble.leaf(number, node, value)
            else:
                place = ensemble.branch(number, node, "BRANCH_LT", feature, value, bool(default))
                ensemble.children(place, left, right)
    return ensemble


_READERS: dict[str, Callable[[Fitted], Ensemble]] = {"lightgbm": _lightgbm, "xgboost": _xgboost}
