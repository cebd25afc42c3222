"""Boosted trees as an ONNX tree ensemble."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, numpy_helper

from remedi_spark.models.onnx_graph import Graph
from remedi_spark.models.tree_ensemble import COLUMNS, Ensemble

if TYPE_CHECKING:
    from collections.abc import Callable

    from remedi_spark.models.registry import OnnxMargin
    from remedi_spark.samples.layout import Layout
    from remedi_spark.storage.fitted import Fitted

_ONNX = (
    "nodes_treeids", "nodes_nodeids", "nodes_modes", "nodes_featureids", "nodes_truenodeids", "nodes_falsenodeids",
    "nodes_missing_value_tracks_true",
)  # fmt: skip
"""ONNX's names of :data:`COLUMNS`."""


def margin_of(ensemble: Callable[[Fitted], Ensemble]) -> OnnxMargin:
    """Return what adds a fitted model to a graph, given what reads its trees."""

    def margin(graph: Graph, fitted: Fitted, layout: Layout, x: str) -> str:
        return add_trees(graph, ensemble(fitted), x)

    return margin


def add_trees(graph: Graph, ensemble: Ensemble, x: str) -> str:
    """Add trees to a graph; return the margins, (rows,) float64, of rows ``x``, (rows, columns)."""
    if ensemble.dtype == np.float32:
        x = graph.add("Cast", x, to=TensorProto.FLOAT)
    total = graph.add("TreeEnsembleRegressor", x, domain="ai.onnx.ml", **_attributes(ensemble))
    margin = graph.add("Cast", graph.add("Squeeze", total, graph.ints([1])), to=TensorProto.DOUBLE)
    return graph.add("Add", margin, graph.number(ensemble.start))


def _attributes(ensemble: Ensemble) -> dict[str, Any]:
    trees, nodes, weights = zip(*ensemble.leaves, strict=True)
    attributes: dict[str, Any] = {ours: ensemble.nodes[name] for ours, name in zip(_ONNX, COLUMNS, strict=True)}
    for name, values in (("nodes_values", ensemble.values), ("target_weights", weights)):
        if ensemble.dtype == np.float64:
            attributes[f"{name}_as_tensor"] = numpy_helper.from_array(np.asarray(values, dtype=np.float64), name)
        else:
            attributes[name] = [float(np.float32(value)) for value in values]
    return {
        "n_targets": 1, "aggregate_function": "SUM", "post_transform": "NONE", "target_treeids": trees,
        "target_nodeids": nodes, "target_ids": [0] * len(trees), **attributes,
    }  # fmt: skip
