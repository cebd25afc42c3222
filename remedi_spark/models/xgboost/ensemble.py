"""The trees of an XGBoost model as lists of nodes, from the booster's own dump.

For ONNX onnxmltools' converter gives the same (``tests/exports/test_onnx_peers.py``), but as a model of its own, where
these trees are a part of the student's graph; it would be one more package for the user, to save thirty lines.
"""

from __future__ import annotations

import json
import math

import numpy as np

from remedi_spark.models.tree_ensemble import Ensemble
from remedi_spark.storage.fitted import Fitted


def ensemble_of(fitted: Fitted) -> Ensemble:
    """Return the trees of a fitted model, up to its best round."""
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
