"""A new family of models is a package and a row: learner, storage, predictor, reasons and ONNX follow from it."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import pandas as pd
import pytest

from remedi_spark.config.chain import AdditiveConfig, CatBoostConfig, LightGBMConfig, MLPConfig, XGBoostConfig
from remedi_spark.delivery.onnx_model import build_model, onnx_inputs
from remedi_spark.errors import InputError
from remedi_spark.maths.calibrators import IdentityCalibrator
from remedi_spark.models import registry
from remedi_spark.models.predictors import load_predictor
from remedi_spark.models.reference import Reference
from remedi_spark.models.registry import Family, family_of, family_of_fitted, learner_for
from remedi_spark.samples.encoder import Encoder
from remedi_spark.samples.layout import Layout, Slot
from remedi_spark.samples.schema import Feature, FeatureContract
from remedi_spark.scoring.bundle import Bundle, BundleParts
from remedi_spark.storage.fitted import Fitted
from remedi_spark.storage.store import ModelStore

Array = npt.NDArray[np.float64]


class _Settings(AdditiveConfig):
    ridge: float = 1e-9


class _Learner:
    """Least squares, on rows that are at hand."""

    def __init__(self, settings: _Settings) -> None:
        self._ridge = settings.ridge

    def fit(self, data: Any) -> Fitted:
        penalty = self._ridge * np.eye(data.x.shape[1])
        weights = np.linalg.solve(data.x.T @ data.x + penalty, data.x.T @ data.target)
        return Fitted("linear", json.dumps(weights.tolist()).encode(), {"rows_used": len(data.x)})


class _Predictor:
    def __init__(self, fitted: Fitted) -> None:
        self._weights = np.array(json.loads(fitted.payload))

    def __call__(self, x: Array) -> Array:
        found: Array = x @ self._weights
        return found

    def contributions(self, x: Array, reference: Reference) -> tuple[Array, Array]:
        by_slot = (x - reference.row) * self._weights
        return reference.by_player(by_slot), np.repeat(self(reference.row[None]), len(x))


def _margin(graph: Any, fitted: Fitted, layout: Layout, x: str) -> str:
    weights = np.array(json.loads(fitted.payload))
    assert len(weights) == layout.width
    return str(graph.add("MatMul", x, graph.constant(weights)))


@pytest.fixture
def linear(monkeypatch: pytest.MonkeyPatch) -> Family:
    """A family that no file of the package knows."""
    module: Any = types.ModuleType("remedi_spark.models.linear")
    module.Learner, module.Predictor, module.margin = _Learner, _Predictor, _margin
    monkeypatch.setitem(sys.modules, module.__name__, module)
    row = Family(
        "linear", lambda model: isinstance(model, _Settings), "linear:Learner", "linear:Predictor", "linear:margin"
    )
    monkeypatch.setattr(registry, "FAMILIES", [row, *registry.FAMILIES])
    return row


CONTRACT = FeatureContract(tuple(Feature(name, "number") for name in ("a", "b", "c")))


def _fitted(weights: list[float]) -> Fitted:
    x = np.random.default_rng(0).normal(size=(50, 3))
    return learner_for(_Settings()).fit(SimpleNamespace(x=x, target=x @ weights))  # type: ignore[arg-type]


def test_a_registered_family_is_fitted_stored_scores_and_explains(tmp_path: Path, linear: Family) -> None:
    assert family_of(_Settings()) is linear
    store = ModelStore(tmp_path)
    store.save_fitted(_fitted([1.0, -2.0, 0.5]), "base_models", "linear", "fold_0")
    assert (tmp_path / "base_models" / "linear" / "fold_0.bin").exists()
    stored = store.load_fitted("base_models", "linear", "fold_0")
    assert family_of_fitted(stored) is linear
    predictor = load_predictor(stored.on_line(2.0, 0.25))
    x, layout = np.array([[1.0, 1.0, 1.0], [0.0, 1.0, 0.0]]), Layout(tuple(Slot(i, "number") for i in range(3)))
    np.testing.assert_allclose(predictor(x), [-0.75, -3.75], atol=1e-6)
    found, start = predictor.contributions(x, Reference.of(x[0], layout))
    np.testing.assert_allclose(found, [[0, 0, 0], [-2, 0, -1]], atol=1e-6)
    np.testing.assert_allclose(found.sum(axis=1) + start, predictor(x))


def _bundle(students: dict[str, list[Fitted]]) -> Bundle:
    encoder = Encoder(CONTRACT, {}, np.array([10.0, 10.0]), np.array([1.0, 2.0]), 2, True, 20.0, 28)
    return Bundle(BundleParts(encoder.to_dict(), students, IdentityCalibrator().to_dict(), "v1"))


@pytest.mark.usefixtures("linear")
def test_a_registered_family_is_exported() -> None:
    bundle = _bundle({"linear": [_fitted([1.0, -2.0, 0.5]).on_line(1.5, -0.25), _fitted([0.5, 1.0, 0.0])]})
    frame = pd.DataFrame(np.random.default_rng(1).normal(size=(40, 3)), columns=["a", "b", "c"])
    session = onnxruntime.InferenceSession(build_model(bundle).SerializeToString())
    (found,) = session.run(["score"], onnx_inputs(CONTRACT, frame))
    np.testing.assert_allclose(found, bundle.predict(frame), rtol=0, atol=1e-12)
    assert np.ptp(found) > 0.1


def test_a_family_without_a_like_in_onnx_is_refused() -> None:
    hurdle = _bundle({"hurdle": [Fitted("hurdle", b""), Fitted("hurdle", b"")]})
    with pytest.raises(
        InputError, match="is a hurdle model, expected one of lightgbm, xgboost, catboost, net; train with"
    ):
        build_model(hurdle)


def test_a_kind_that_no_family_has_is_refused() -> None:
    with pytest.raises(InputError, match="kind 'unheard', expected one of hurdle, lightgbm"):
        load_predictor(Fitted("unheard", b""))


@pytest.mark.parametrize(
    ("settings", "kind", "several"),
    [
        (LightGBMConfig(), "lightgbm", True),
        (LightGBMConfig(objective="hurdle"), "hurdle", True),
        (XGBoostConfig(), "xgboost", True),
        (CatBoostConfig(), "catboost", False),
        (AdditiveConfig(), "net", False),
        (MLPConfig(), "net", False),
    ],
)
def test_every_configured_model_has_a_family(settings: Any, kind: str, several: bool) -> None:
    assert (family_of(settings).kind, family_of(settings).several_workers) == (kind, several)
    assert learner_for(settings) is not None
