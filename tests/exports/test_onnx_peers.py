"""ONNX graphs of trees give what the libraries' own converters give, where those can be used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import onnx
import onnxmltools
import onnxruntime
import pytest
import xgboost
from catboost import CatBoost
from onnx import TensorProto, helper
from onnxmltools.convert.common.data_types import FloatTensorType

from remedi_spark.models.catboost.fit import serialized
from remedi_spark.models.catboost.predict import Columns
from remedi_spark.models.onnx_graph import Graph
from remedi_spark.models.registry import family_of_fitted, onnx_margin
from remedi_spark.samples.layout import Layout, Slot
from remedi_spark.storage.fitted import Fitted

LAYOUT = Layout(tuple(Slot(i, "number") for i in range(4)))
SHAPE = [("x", FloatTensorType([None, LAYOUT.width]))]
Peer = Callable[[Path], onnx.ModelProto]


def _rows() -> tuple[Any, Any]:
    """Eighths, which float32 holds and which lie on no threshold between two of them; a fifth of a column is null."""
    rng = np.random.default_rng(0)
    x = np.round(rng.normal(size=(500, LAYOUT.width)) * 8) / 8
    x[rng.random(500) < 0.2, 2] = np.nan
    return x, x[:, 0] * x[:, 1] + np.isnan(x[:, 2])


def _lightgbm() -> tuple[Fitted, Peer]:
    booster = lightgbm.train({"verbose": -1, "num_threads": 1}, lightgbm.Dataset(*_rows()), 20)
    fitted = Fitted("lightgbm", booster.model_to_string().encode())
    return fitted, lambda _: onnxmltools.convert_lightgbm(booster, initial_types=SHAPE, target_opset=15)


def _xgboost() -> tuple[Fitted, Peer]:
    settings = {"max_depth": 4, "nthread": 1, "base_score": -1.5}
    booster = xgboost.train(settings, xgboost.DMatrix(*_rows()), 20)
    fitted = Fitted("xgboost", bytes(booster.save_raw("ubj")), {"trees": 20})
    return fitted, lambda _: onnxmltools.convert_xgboost(booster, initial_types=SHAPE, target_opset=15)


def _catboost() -> tuple[Fitted, Peer]:
    columns = Columns.of(LAYOUT, native=False)
    model = CatBoost({"iterations": 30, "depth": 4, "thread_count": 1, "verbose": False, "allow_writing_files": False})
    model.fit(columns.pool(*_rows()))

    def peer(folder: Path) -> onnx.ModelProto:
        model.save_model(str(folder / "peer.onnx"), format="onnx")
        return onnx.load(folder / "peer.onnx")

    return Fitted("catboost", serialized(model), {"categories": []}), peer


def _ours(fitted: Fitted) -> onnx.ModelProto:
    graph, margin = Graph(), onnx_margin(family_of_fitted(fitted))
    assert margin is not None
    out = margin(graph, fitted, LAYOUT, "x")
    entry = helper.make_tensor_value_info("x", TensorProto.DOUBLE, ["rows", LAYOUT.width])
    result = helper.make_tensor_value_info(out, TensorProto.DOUBLE, ["rows"])
    opsets = [helper.make_opsetid(domain, version) for domain, version in graph.domains.items()]
    body = helper.make_graph(graph.nodes, "trees", [entry], [result], graph.constants)
    return helper.make_model(body, opset_imports=opsets, ir_version=9)


def _run(model: onnx.ModelProto, x: Any) -> Any:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, {session.get_inputs()[0].name: x})[0].ravel()


@pytest.mark.parametrize("fit", [_lightgbm, _xgboost, _catboost])
def test_trees_give_what_the_librarys_converter_gives(fit: Callable[[], tuple[Fitted, Peer]], tmp_path: Path) -> None:
    (fitted, peer), (x, _) = fit(), _rows()
    found = _run(_ours(fitted), x)
    np.testing.assert_allclose(found, _run(peer(tmp_path), x.astype(np.float32)), rtol=0, atol=5e-6)
    assert np.ptp(found) > 1


def test_on_a_threshold_lightgbms_converter_goes_the_other_way() -> None:
    """0.1 and 0.1 + 1e-9 are the same as float32: why LightGBM's graph is written here."""
    x = np.zeros((200, LAYOUT.width))
    x[:, 0] = np.where(np.arange(200) % 2, 0.1 + 1e-9, 0.1)
    settings = {"verbose": -1, "num_threads": 1, "min_data_in_bin": 1, "learning_rate": 1.0}
    booster = lightgbm.train(settings, lightgbm.Dataset(x, np.arange(200) % 2), 1)
    native = booster.predict(x)
    assert np.ptp(native) > 0.5
    np.testing.assert_allclose(_run(_ours(Fitted("lightgbm", booster.model_to_string().encode())), x), native)
    peer = onnxmltools.convert_lightgbm(booster, initial_types=SHAPE, target_opset=15)
    assert np.ptp(_run(peer, x.astype(np.float32))) == 0


def test_catboosts_converter_refuses_categories(tmp_path: Path) -> None:
    layout = Layout((*LAYOUT.slots[:3], Slot(3, "code", 5)))
    x, _ = _rows()
    x[:, 3] = np.arange(len(x)) % 5
    model = CatBoost({"iterations": 2, "thread_count": 1, "verbose": False, "allow_writing_files": False})
    model.fit(Columns.of(layout, native=True).pool(x, x[:, 3] % 2))
    with pytest.raises(Exception, match="categorical"):
        model.save_model(str(tmp_path / "peer.onnx"), format="onnx")
