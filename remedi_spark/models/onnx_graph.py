"""The ONNX graph that every family adds its models to."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import compose, helper, numpy_helper

OPSET, ML_OPSET = 20, 3
OURS = "/"
"""How names inside the graph begin, as often repeated as no feature's name begins with it."""


class Graph:
    """Nodes and constants under names that are counted up; they begin with ``ours``."""

    def __init__(self, ours: str = OURS) -> None:
        self.ours = ours
        self.nodes: list[onnx.NodeProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.functions: list[onnx.FunctionProto] = []
        self.domains: dict[str, int] = {"": OPSET, "ai.onnx.ml": ML_OPSET}

    def add(self, op: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Add a node; return the name of its output."""
        out = f"{self.ours}v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [out], domain=domain, **attributes))
        return out

    def constant(self, values: npt.NDArray[Any]) -> str:
        """Add a constant; return its name."""
        name = f"{self.ours}c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(values, name))
        return name

    def number(self, value: float) -> str:
        """Add a float64 constant."""
        return self.constant(np.asarray(value, dtype=np.float64))

    def ints(self, values: list[int]) -> str:
        """Add an int64 constant."""
        return self.constant(np.asarray(values, dtype=np.int64))

    def splice(self, model: onnx.ModelProto, entry: str, source: str, name: str) -> str:
        """Take in another model's graph, fed with ``source`` at its input ``entry``; return the name of its output.

        ``name`` is the graph's own, which sets its names apart.
        """
        prefix = f"{self.ours}{name}_"
        inner = compose.add_prefix(model, prefix)
        self.nodes.append(helper.make_node("Identity", [source], [f"{prefix}{entry}"]))
        self.nodes += inner.graph.node
        self.constants += inner.graph.initializer
        self.functions += inner.functions
        self.domains |= {one.domain: one.version for one in inner.opset_import if one.domain not in self.domains}
        return str(inner.graph.output[0].name)
