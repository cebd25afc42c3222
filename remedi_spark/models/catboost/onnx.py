"""CatBoost models as ONNX: its trees over the numbers, and over categories' statistics looked up in tables.

CatBoost's own exporter, which onnxmltools calls too, refuses categories; on numbers alone the two agree. CatBoost
replaces a combination of levels (and of conditions on numbers) by a statistic that it finds by a hash. Levels here are
codes, so that all combinations can be listed: each statistic is a table that ``Gather`` reads. The arithmetic is that
of CatBoost's own evaluator (catboost/libs/model, Apache 2.0).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from onnx import TensorProto

from remedi_spark.errors import InputError
from remedi_spark.models.catboost.json_model import as_json, statistic_of_split
from remedi_spark.models.catboost.predict import Columns, load
from remedi_spark.models.onnx_trees import add_trees
from remedi_spark.models.tree_ensemble import Ensemble

if TYPE_CHECKING:
    from remedi_spark.models.onnx_graph import Graph
    from remedi_spark.samples.layout import Layout
    from remedi_spark.storage.fitted import Fitted

Hashes = npt.NDArray[np.uint64]
MAGIC = np.uint64(0x4906BA494954CB65)
LARGEST_TABLE = 1 << 20
"""Combinations that one statistic may have."""


@dataclass(frozen=True)
class Model:
    """A model's JSON, the slots of its columns, and the number of codes of each category."""

    tree: dict[str, Any]
    columns: Columns
    sizes: list[int]

    @classmethod
    def read(cls, fitted: Fitted, layout: Layout) -> Model:
        """Return a fitted model; its JSON names the hash of every code."""
        known = set(fitted.info["categories"])
        columns = Columns([i for i in range(layout.width) if i not in known], fitted.info["categories"])
        sizes = [layout.slots[slot].cardinality for slot in columns.categories]
        every_code = np.zeros((max([1, *sizes]), layout.width))
        for slot, size in zip(columns.categories, sizes, strict=True):
            every_code[:, slot] = np.minimum(np.arange(len(every_code)), size - 1)
        return cls(as_json(load(fitted.payload), columns.pool(every_code)), columns, sizes)

    @property
    def features(self) -> dict[str, Any]:
        """Return what the model says of its inputs."""
        found: dict[str, Any] = self.tree["features_info"]
        return found

    def hashes(self, category: int) -> npt.NDArray[np.int32]:
        """Return CatBoost's hash of each code."""
        by_name = {int(one["value"]): one["hash"] for one in self.features["cat_features_hash"]}
        unsigned = np.array([by_name[code] for code in range(self.sizes[category])], dtype=np.uint32)
        return unsigned.astype(np.int32)


def margin(graph: Graph, fitted: Fitted, layout: Layout, x: str) -> str:
    """Add a fitted model to the graph; return its margins, (rows,), of encoded rows ``x``, (rows, width).

    Raises:
        InputError: a statistic of more combinations than :data:`LARGEST_TABLE`, or of a kind not known here.
    """
    model = Model.read(fitted, layout)
    numbers = graph.add("Cast", graph.add("Gather", x, graph.ints(model.columns.numbers), axis=1), to=TensorProto.FLOAT)
    codes = {
        slot: graph.add("Cast", graph.add("Gather", x, graph.constant(np.array(slot)), axis=1), to=TensorProto.INT64)
        for slot in model.columns.categories
    }
    inputs = _Inputs(graph, model, numbers, [codes[slot] for slot in model.columns.categories])
    ensemble = _ensemble(model, inputs)
    table = graph.add("Concat", numbers, *inputs.added, axis=1) if inputs.added else numbers
    return add_trees(graph, ensemble, table)


class _Inputs:
    """Columns that the trees read beside the numbers, each made once: conditions on codes, and statistics."""

    def __init__(self, graph: Graph, model: Model, numbers: str, codes: list[str]) -> None:
        self.graph, self.model, self.numbers, self.codes = graph, model, numbers, codes
        self.added: list[str] = []
        self._places: dict[Any, int] = {}

    def is_level(self, category: int, value: int) -> int:
        """Return the place of the column that is 1 where a category has the hash ``value``."""
        return self._place(("level", category, value), lambda: self._level(category, value))

    def statistic(self, number: int) -> int:
        """Return the place of the column of a statistic."""
        return self._place(("statistic", number), lambda: self._statistic(self.model.features["ctrs"][number]))

    def _place(self, key: Any, make: Any) -> int:
        if key not in self._places:
            self._places[key] = len(self.model.columns.numbers) + len(self.added)
            self.added.append(self.graph.add("Unsqueeze", make(), self.graph.ints([1])))
        return self._places[key]

    def _level(self, category: int, value: int) -> str:
        table = (self.model.hashes(category) == np.int32(value)).astype(np.float32)
        return self.graph.add("Gather", self.graph.constant(table), self.codes[category])

    def _statistic(self, ctr: dict[str, Any]) -> str:
        """Look the statistic up by the place of the combination among all of its elements' values."""
        elements = sorted(ctr["elements"], key=lambda one: _ORDER[one["combination_element"]])
        values = [self._values(element) for element in elements]
        size = math.prod(len(one) for one in values)
        if size > LARGEST_TABLE:
            raise InputError(
                f"--onnx: a CatBoost statistic of {size} combinations, expected at most {LARGEST_TABLE}; train with "
                "--set student.kind=distilled"
            )
        hashed = np.zeros(1, dtype=np.uint64)
        place = self.graph.ints([0])
        for element, one in zip(elements, values, strict=True):
            hashed = _combined(hashed[:, None], one[None, :]).ravel()
            scaled = self.graph.add("Mul", place, self.graph.ints([len(one)]))
            place = self.graph.add("Add", scaled, self._position(element))
        return self.graph.add("Gather", self.graph.constant(_table(ctr, self.model.tree["ctr_data"], hashed)), place)

    def _values(self, element: dict[str, Any]) -> Hashes:
        """Return what CatBoost hashes for each value of an element: the code's own hash, or 0 and 1."""
        if element["combination_element"] == "cat_feature_value":
            return self.model.hashes(element["cat_feature_index"]).astype(np.int64).astype(np.uint64)
        return np.array([0, 1], dtype=np.uint64)

    def _position(self, element: dict[str, Any]) -> str:
        """Return which value of the element each row has, (rows,) int64."""
        kind: str = element["combination_element"]
        if kind == "cat_feature_value":
            return self.codes[int(element["cat_feature_index"])]
        if kind == "cat_feature_exact_value":
            met = self._level(element["cat_feature_index"], element["value"])
            return self.graph.add("Cast", met, to=TensorProto.INT64)
        number = element["float_feature_index"]
        column = self.graph.add("Gather", self.numbers, self.graph.constant(np.array(number)), axis=1)
        above = self.graph.add("Greater", column, self.graph.constant(np.array(element["border"], dtype=np.float32)))
        if self.model.features["float_features"][number]["nan_value_treatment"] == "AsTrue":
            above = self.graph.add("Or", above, self.graph.add("IsNaN", column))
        return self.graph.add("Cast", above, to=TensorProto.INT64)


_ORDER = {"cat_feature_value": 0, "float_feature": 1, "cat_feature_exact_value": 2}
"""In which order CatBoost hashes the elements of a combination."""


def _combined(before: Hashes, value: Hashes) -> Hashes:
    with np.errstate(over="ignore"):
        found: Hashes = MAGIC * (before + MAGIC * value)
    return found


def _table(ctr: dict[str, Any], data: dict[str, Any], hashed: Hashes) -> npt.NDArray[np.float32]:
    """Return the statistic of every combination."""
    stored = data[ctr["identifier"]]
    stride, flat = stored["hash_stride"], stored["hash_map"]
    counts = {int(flat[i]): flat[i + 1 : i + stride] for i in range(0, len(flat), stride)}
    found = np.array([counts.get(int(one), [0] * (stride - 1)) for one in hashed], dtype=np.float64)
    if ctr["ctr_type"] == "Borders":
        good = found[:, ctr["target_border_idx"] + 1 :].sum(axis=1)
        total = found.sum(axis=1)
    elif ctr["ctr_type"] == "Counter":
        good, total = found[:, 0], np.full(len(found), float(stored["counter_denominator"]))
    else:
        raise InputError(
            f"--onnx: a CatBoost statistic of type {ctr['ctr_type']}; train with --set student.kind=distilled"
        )
    share = (good + ctr["prior_numerator"]) / (total + ctr["prior_denomerator"])
    return np.asarray((share + ctr["shift"]) * ctr["scale"], dtype=np.float32)


def _ensemble(model: Model, inputs: _Inputs) -> Ensemble:
    """Return the symmetric trees; the place of a leaf has a bit for every level, the first one lowest."""
    scale, bias = model.tree["scale_and_bias"]
    ensemble = Ensemble(np.float32, start=float(np.ravel(bias)[0]))
    statistics = statistic_of_split(model.features)
    for number, tree in enumerate(model.tree["oblivious_trees"]):
        splits = tree["splits"] or []
        conditions = [_condition(split, model, inputs, statistics) for split in splits]
        inner = (1 << len(splits)) - 1
        for node in range(inner):
            level = (node + 1).bit_length() - 1
            place = ensemble.branch(number, node, "BRANCH_GT", *conditions[level])
            ensemble.children(place, 2 * node + 2, 2 * node + 1)
        for path in range(inner + 1):
            # The path's bits from the root down are a leaf's bits from the lowest up.
            leaf = int(format(path, f"0{len(splits)}b")[::-1], 2) if splits else 0
            ensemble.leaf(number, inner + path, scale * tree["leaf_values"][leaf])
    return ensemble


def _condition(
    split: dict[str, Any], model: Model, inputs: _Inputs, statistics: dict[int, int]
) -> tuple[int, float, bool]:
    """Return column, border and whether null lies above it."""
    if split["split_type"] == "FloatFeature":
        number = split["float_feature_index"]
        treated = model.features["float_features"][number]["nan_value_treatment"]
        return number, float(np.float32(split["border"])), treated == "AsTrue"
    if split["split_type"] == "OneHotFeature":
        return inputs.is_level(split["cat_feature_index"], split["value"]), 0.5, False
    return inputs.statistic(statistics[split["split_index"]]), float(np.float32(split["border"])), False
