"""A new family of models is a module and a row: learner, storage and predictor follow from it."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from remedi_spark.config.chain import AdditiveConfig, CatBoostConfig, LightGBMConfig, MLPConfig, XGBoostConfig
from remedi_spark.models import registry
from remedi_spark.models.predictors import load_predictor
from remedi_spark.models.registry import Family, family_of, learner_for
from remedi_spark.storage.fitted import Fitted
from remedi_spark.storage.store import ModelStore


class _Settings(AdditiveConfig):
    margin: float = 0.5


class _Learner:
    def __init__(self, settings: _Settings) -> None:
        self._settings = settings

    def fit(self, _: Any) -> Fitted:
        return Fitted("constant", str(self._settings.margin).encode(), {"trees": 0})


class _Predictor:
    def __init__(self, fitted: Fitted) -> None:
        self._margin = float(fitted.payload)

    def __call__(self, x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.full(len(x), self._margin)


def test_a_registered_family_is_fitted_stored_and_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = types.ModuleType("remedi_spark.models.constant")
    module.Learner, module.Predictor = _Learner, _Predictor
    monkeypatch.setitem(sys.modules, module.__name__, module)
    row = Family("constant", lambda model: isinstance(model, _Settings), "constant:Learner", "constant:Predictor")
    monkeypatch.setattr(registry, "FAMILIES", [row, *registry.FAMILIES])
    fitted = learner_for(_Settings(margin=1.25)).fit(None)  # type: ignore[arg-type]
    store = ModelStore(tmp_path)
    store.save_fitted(fitted, "base_models", "constant", "fold_0")
    assert (tmp_path / "base_models" / "constant" / "fold_0.bin").exists()
    predictor = load_predictor(store.load_fitted("base_models", "constant", "fold_0"))
    assert predictor(np.zeros((3, 2))).tolist() == [1.25] * 3


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
