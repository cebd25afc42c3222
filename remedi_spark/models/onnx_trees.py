"""Boosted trees as an ONNX tree ensemble, which the families of trees fill from the boosters' own dumps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import TensorProto, numpy_helper

from remedi_spark.models.onnx_graph import Graph

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

    def add_to(self, graph: Graph, x: str) -> str:
        """Add the trees to a graph; return the margins, (rows,) float64, of rows ``x``, (rows, columns)."""
        if self.dtype == np.float32:
            x = graph.add("Cast", x, to=TensorProto.FLOAT)
        total = graph.add("TreeEnsembleRegressor", x, domain="ai.onnx.ml", **self._attributes())
        margin = graph.add("Cast", graph.add("Squeeze", total, graph.ints([1])), to=TensorProto.DOUBLE)
        return graph.add("Add", margin, graph.number(self.start))

    def _attributes(self) -> dict[str, Any]:
        trees, nodes, weights = zip(*self.leaves, strict=True)
        attributes: dict[str, Any] = dict(self.nodes)
        for name, values in (("nodes_values", self.values), ("target_weights", weights)):
            if self.dtype == np.float64:
                attributes[f"{name}_as_tensor"] = numpy_helper.from_array(np.asarray(values, dtype=np.float64), name)
            else:
                attributes[name] = [float(np.float32(value)) for value in values]
        return {
            "n_targets": 1, "aggregate_function": "SUM", "post_transform": "NONE", "target_treeids": trees,
            "target_nodeids": nodes, "target_ids": [0] * len(trees), **attributes,
        }  # fmt: skip
