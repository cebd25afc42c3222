"""The student as one ONNX file: raw features in, score out, with everything in between in the graph.

Every feature is an input of its own, by its name and of shape (rows,): a category as text (null: ``<null>``), anything
else as float64 (null: NaN; a flag 0 or 1; a date or moment as days since 1970-01-01, UTC). The output ``score`` is
float64, shape (rows,).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import onnx
import pandas as pd
from onnx import TensorProto, helper

from remedi_spark.errors import InputError
from remedi_spark.maths.calibrators import ISOTONIC_SLOPE
from remedi_spark.maths.label_scale import LARGEST_ANGLE, LabelScale
from remedi_spark.models.onnx_graph import OURS, Graph
from remedi_spark.models.registry import family_of_fitted, onnx_kinds, onnx_margin, onnx_margins
from remedi_spark.samples.encoder import NULL_LEVEL, Encoder
from remedi_spark.samples.layout import LARGEST, LEAST
from remedi_spark.samples.schema import FeatureContract
from remedi_spark.scoring.bundle import Bundle
from remedi_spark.storage.fitted import Fitted
from remedi_spark.storage.store import write_bytes

if TYPE_CHECKING:
    from remedi_spark.models.registry import OnnxMargins
    from remedi_spark.samples.layout import Layout, Operation

NULL = "<null>"
"""What stands for a null category; ONNX's texts have none."""
IR_VERSION = 9
SCORE = "score"
"""The output."""


def export_onnx(bundle: Bundle, path: Path) -> Path:
    """Write the student of a bundle to an ONNX file, whole or not at all.

    Raises:
        InputError: the file cannot be written (a full disk, no right to); a former one stands as it was.
    """
    content = build_model(bundle).SerializeToString()
    try:
        write_bytes(path, content, private=False)
    except OSError as error:
        former = "; the former file stands as it was" if path.exists() else ""
        raise InputError(
            f"--onnx {path}: {error.strerror or error}; expected room and the right to write{former}"
        ) from error
    return path


def onnx_inputs(contract: FeatureContract, frame: pd.DataFrame) -> dict[str, npt.NDArray[Any]]:
    """Return the inputs of the ONNX model for a frame in the user's columns, as onnxruntime takes them."""
    canonical = contract.canonical(frame)
    inputs: dict[str, npt.NDArray[Any]] = {}
    for feature, column in zip(contract.features, contract.columns, strict=True):
        values = canonical[column]
        if feature.kind == "category":
            inputs[feature.name] = values.where(values.notna(), NULL).to_numpy(dtype=object)
        else:
            inputs[feature.name] = values.to_numpy(dtype=np.float64)
    return inputs


def build_model(bundle: Bundle) -> onnx.ModelProto:
    """Return the student of a bundle as a checked ONNX model.

    Raises:
        InputError: a category has a level ``<null>``, a feature is named like the output or not at all, or a model has
            no like in ONNX.
    """
    encoder, students = bundle.encoder, bundle.parts.students
    graph = Graph(_own_prefix(bundle.contract.names))
    encoded = _encode(graph, encoder, bundle.left_out)
    parts = _margins(graph, list(students.values()), encoder.layout, encoded)
    total = graph.add("Sum", *parts) if len(parts) > 1 else parts[0]
    if shift := sum(fitted.shift for folds in students.values() for fitted in folds):
        total = graph.add("Add", total, graph.number(shift))
    margin = graph.add("Div", total, graph.number(len(bundle.left_out) * len(students)))
    score = _calibrate(graph, bundle.calibrator.to_dict(), margin)
    graph.nodes.append(helper.make_node("Identity", [score], ["score"]))
    return _model(graph, bundle)


def _own_prefix(names: Sequence[str]) -> str:
    """Return how no feature's name begins; refuse names that no input of a graph can have.

    An input is called as the feature is, whatever that is: onnxruntime takes any text.
    """
    for name in names:
        if name in (SCORE, ""):
            raise InputError(
                f"--onnx: feature {name!r} would be an input named like the output, or not at all; expected any other "
                "name than 'score' and ''; rename the column and train again"
            )
    prefix = OURS
    while any(name.startswith(prefix) for name in names):
        prefix += OURS
    return prefix


def _encode(graph: Graph, encoder: Encoder, left_out: list[int | None]) -> list[str]:
    """Return the encoded rows without each fold, (rows, width); the twin of :meth:`Encoder.transform`."""
    contract = encoder.contract
    rows: dict[int, str] = {}
    for i, feature in enumerate(contract.features):
        kind = TensorProto.STRING if feature.kind == "category" else TensorProto.DOUBLE
        graph.inputs.append(helper.make_tensor_value_info(feature.name, kind, ["rows"]))
        rows[i] = _positions(graph, encoder, i) if feature.kind == "category" else _finite(graph, feature.name)
    fixed = [rows[i] for i in contract.numbers]
    fixed += [graph.add("Cast", rows[i], to=TensorProto.DOUBLE) for i in encoder.coded]
    fixed += [graph.add("Gather", graph.constant(encoder.frequency(i)), rows[i]) for i in contract.categories]
    fixed += [_made(graph, how, fixed[a], fixed[b]) for how, a, b in encoder.made]
    encoded = []
    for fold in left_out:
        tables = [(encoder.encodings(i, fold)[:, -1], rows[i]) for i in contract.categories]
        targets = [graph.add("Gather", graph.constant(table), position) for table, position in tables]
        columns = [graph.add("Unsqueeze", column, graph.ints([1])) for column in (*fixed, *targets)]
        encoded.append(graph.add("Concat", *columns, axis=1))
    return encoded


def _finite(graph: Graph, name: str) -> str:
    return graph.add("Where", graph.add("IsInf", name), graph.number(np.nan), name)


def _made(graph: Graph, how: Operation, first: str, second: str) -> str:
    """Return a difference or a ratio of two numbers; the twin of :meth:`Made.of`."""
    if how == "difference":
        found = graph.add("Sub", first, second)
    else:
        divides = graph.add("GreaterOrEqual", graph.add("Abs", second), graph.number(LEAST))
        found = graph.add("Where", divides, graph.add("Div", first, second), graph.number(np.nan))
    held = graph.add("LessOrEqual", graph.add("Abs", found), graph.number(LARGEST))
    return graph.add("Where", held, found, graph.number(np.nan))


def _positions(graph: Graph, encoder: Encoder, feature: int) -> str:
    names, title = encoder.levels[feature].names, encoder.contract.names[feature]
    if NULL in names:
        raise InputError(
            f"--onnx: feature {title!r} has a level {NULL!r}, which stands for null there; rename the level"
        )
    # A feature may have no level that is frequent enough; the operator wants one key at least.
    keys = [NULL if name == NULL_LEVEL else name for name in names] or [NULL]
    return graph.add(
        "LabelEncoder", title, domain="ai.onnx.ml", keys_strings=keys, values_int64s=list(range(len(keys))),
        default_int64=len(names),
    )  # fmt: skip


def _margins(graph: Graph, students: list[list[Fitted]], layout: Layout, encoded: list[str]) -> list[str]:
    """Return margins that add up to those of all models less their shifts.

    Raises:
        InputError: a family has no like in ONNX.
    """
    parts: list[str] = []
    together: dict[OnnxMargins, list[list[Fitted]]] = {}
    for folds in students:
        family = family_of_fitted(folds[0])
        if at_once := onnx_margins(family):
            together.setdefault(at_once, []).append(folds)
        elif margin := onnx_margin(family):
            parts += [_sloped(graph, one, margin(graph, one, layout, x)) for one, x in zip(folds, encoded, strict=True)]
        else:
            raise InputError(
                f"--onnx: a part of the student is a {family.kind} model, expected one of {', '.join(onnx_kinds())}; "
                "train with --set student.kind=distilled and without such a part"
            )
    return parts + [margins(graph, models, layout, encoded) for margins, models in together.items()]


def _sloped(graph: Graph, fitted: Fitted, margin: str) -> str:
    return margin if fitted.slope == 1 else graph.add("Mul", margin, graph.number(fitted.slope))


def _calibrate(graph: Graph, stored: dict[str, Any], z: str) -> str:
    """Return the score; the twin of the calibrators of :mod:`remedi_spark.maths.calibrators`."""
    if stored["kind"] == "isotonic":
        return _isotonic(graph, stored, z)
    if stored["kind"] == LabelScale.kind:
        return _amount(graph, stored, z)
    if stored["kind"] == "platt":
        z = graph.add("Add", graph.add("Mul", z, graph.number(stored["a"])), graph.number(stored["b"]))
    elif stored["kind"] == "beta":
        up = graph.add("Mul", _log_sigmoid(graph, z), graph.number(stored["a"]))
        down = graph.add("Mul", _log_sigmoid(graph, graph.add("Neg", z)), graph.number(-stored["b"]))
        z = graph.add("Sum", up, down, graph.number(stored["c"]))
    elif stored["kind"] != "identity":
        raise InputError(f"--onnx: calibrator {stored['kind']!r} has no like in the ONNX export")
    return graph.add("Sigmoid", z)


def _amount(graph: Graph, stored: dict[str, Any], z: str) -> str:
    """Return a regression's prediction; the twin of :class:`remedi_spark.maths.label_scale.LabelScale`."""
    learned = graph.add("Add", graph.add("Mul", z, graph.number(stored["spread"])), graph.number(stored["center"]))
    if stored["scale"] == "asinh":
        low, high = graph.number(-LARGEST_ANGLE), graph.number(LARGEST_ANGLE)
        angle = graph.add("Max", graph.add("Min", learned, high), low)
        twice = graph.add("Sub", graph.add("Exp", angle), graph.add("Exp", graph.add("Neg", angle)))
        learned = graph.add("Mul", twice, graph.number(stored["unit"] / 2))
    return graph.add("Max", learned, graph.number(stored["lowest"]))


def _log_sigmoid(graph: Graph, z: str) -> str:
    """min(z, 0) - log(1 + exp(-|z|)), which overflows nowhere."""
    small = graph.add("Exp", graph.add("Neg", graph.add("Abs", z)))
    return graph.add(
        "Sub", graph.add("Min", z, graph.number(0.0)), graph.add("Log", graph.add("Add", small, graph.number(1.0)))
    )


def _isotonic(graph: Graph, stored: dict[str, Any], z: str) -> str:
    x, y = (np.asarray(stored[name], dtype=np.float64) for name in ("logits", "probabilities"))
    if len(x) == 1:
        line = graph.add("Add", graph.add("Mul", z, graph.number(0.0)), graph.number(y[0]))
    else:
        inside = graph.add("Max", graph.add("Min", z, graph.number(x[-1])), graph.number(x[0]))
        column = graph.add("Unsqueeze", inside, graph.ints([1]))
        passed = graph.add("GreaterOrEqual", column, graph.constant(x[1:-1]))  # (rows, knots)
        counted = graph.add("Cast", passed, to=TensorProto.INT64)
        piece = graph.add("ReduceSum", counted, graph.ints([1]), keepdims=0)
        slopes = np.diff(y) / np.diff(x)
        start, origin, slope = (
            graph.add("Gather", graph.constant(values), piece) for values in (y[:-1], x[:-1], slopes)
        )
        line = graph.add("Add", start, graph.add("Mul", graph.add("Sub", inside, origin), slope))
    scaled = graph.add("Div", graph.add("Sub", z, graph.number(stored["centre"])), graph.number(stored["scale"]))
    # onnxruntime has no float64 arctangent; a share of 1e-6 needs none.
    bend = graph.add("Cast", graph.add("Atan", graph.add("Cast", scaled, to=TensorProto.FLOAT)), to=TensorProto.DOUBLE)
    rising = graph.add("Add", graph.add("Div", bend, graph.number(np.pi)), graph.number(0.5))
    return graph.add(
        "Add", graph.add("Mul", line, graph.number(1 - ISOTONIC_SLOPE)),
        graph.add("Mul", rising, graph.number(ISOTONIC_SLOPE)),
    )  # fmt: skip


def _model(graph: Graph, bundle: Bundle) -> onnx.ModelProto:
    score = helper.make_tensor_value_info("score", TensorProto.DOUBLE, ["rows"])
    body = helper.make_graph(graph.nodes, "student", graph.inputs, [score], graph.constants)
    opsets = [helper.make_opsetid(domain, version) for domain, version in graph.domains.items()]
    model = helper.make_model(
        body, opset_imports=opsets, functions=graph.functions, ir_version=IR_VERSION, producer_name="remedi_spark"
    )
    kinds = {feature.name: feature.kind for feature in bundle.contract.features}
    about = {"model_version": bundle.model_version, "null": NULL, "features": json.dumps(kinds, ensure_ascii=False)}
    helper.set_model_props(model, about)
    onnx.checker.check_model(model)
    return model
