"""Nets as one ONNX graph, by torch's own exporter."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Sequence
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from remedi_spark.models.nets.models import build
from remedi_spark.models.nets.training import pooled
from remedi_spark.models.onnx_graph import OPSET, Graph
from remedi_spark.samples.layout import Layout
from remedi_spark.storage.fitted import Fitted


class NetsOfFolds(nn.Module):
    """The sum of the margins of all nets, each on its fold's encoding: (n, folds, width) -> (n,)."""

    def __init__(self, students: Sequence[Sequence[Fitted]]) -> None:
        super().__init__()
        stored = [
            (fold, one.slope, torch.load(io.BytesIO(one.payload), weights_only=True))
            for folds in students
            for fold, one in enumerate(folds)
        ]
        self.nets = nn.ModuleList([_restored(one) for *_, one in stored])
        self._how = [(fold, slope, bool(one["pool"])) for fold, slope, one in stored]

    def forward(self, x: Tensor) -> Tensor:
        """Add up the margins."""
        total = torch.zeros_like(x[:, 0, 0])
        for net, (fold, slope, pool) in zip(self.nets, self._how, strict=True):
            total = total + slope * pooled(net(x[:, fold]).double(), pool)
        return total


def _restored(stored: dict[str, Any]) -> nn.Module:
    net = build(stored["spec"])
    net.load_state_dict(stored["state"])
    return net.eval()


def margins(graph: Graph, students: Sequence[Sequence[Fitted]], layout: Layout, encoded: Sequence[str]) -> str:
    """Add nets to the graph, given each fold's encoded rows; return the sum of their margins less shifts, (rows,)."""
    stacked = graph.add("Concat", *[graph.add("Unsqueeze", x, graph.ints([1])) for x in encoded], axis=1)
    return graph.splice(_exported(students, len(encoded), layout.width), "x", stacked, "nets")


def _exported(students: Sequence[Sequence[Fitted]], folds: int, width: int) -> onnx.ModelProto:
    """Return the graph from ``x`` (rows, folds, width), float64, to ``nets`` (rows,), float64."""
    module = NetsOfFolds(students).eval()
    example = torch.zeros(3, folds, width, dtype=torch.float64)
    quiet = io.StringIO()
    level = logging.getLogger("torch.onnx").level
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(quiet), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Traced here rather than by the exporter, which would fall back on a graph of a fixed number of rows.
            traced = torch.export.export(module, (example,), dynamic_shapes=({0: torch.export.Dim("rows")},))
            program = torch.onnx.export(
                traced,
                (example,),
                dynamo=True,
                opset_version=OPSET,
                input_names=["x"],
                output_names=["nets"],
                verbose=False,
            )
    finally:
        logging.getLogger("torch.onnx").setLevel(level)
    assert program is not None
    model: onnx.ModelProto = program.model_proto
    return model
