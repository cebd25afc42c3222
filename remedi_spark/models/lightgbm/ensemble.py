"""The trees of a LightGBM as lists of nodes, from the booster's own dump.

For ONNX onnxmltools' converter would not do: it rounds LightGBM's float64 thresholds and inputs to float32, which can
send a value that lies on a threshold the other way. Here both stay float64. On values that float32 holds, away from
thresholds, the two agree (``tests/exports/test_onnx_peers.py``).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from remedi_spark.errors import InputError
from remedi_spark.models.tree_ensemble import Ensemble
from remedi_spark.storage.fitted import Fitted


def ensemble_of(fitted: Fitted) -> Ensemble:
    """Return the trees of a fitted model.

    Raises:
        InputError: it was trained with ``zero_as_missing``.
    """
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
        raise InputError("a LightGBM model with zero_as_missing has no like outside of LightGBM; train without it")
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
