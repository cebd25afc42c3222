"""The families of models: one row each. A new family is a module, its settings in the configuration, and a row here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from remedi_spark.config.chain import AdditiveConfig, CatBoostConfig, LightGBMConfig, ModelConfig, XGBoostConfig
from remedi_spark.models.contract import Learner, Predictor
from remedi_spark.storage.fitted import Fitted


@dataclass(frozen=True)
class Family:
    """What the chain asks of a family; code by name, so that only the libraries of the families in use are imported."""

    kind: str
    """How its fitted models are called where they are stored."""
    takes: Callable[[Any], bool]
    """Tells whether a configured model is of this family."""
    learner: str
    """``module:Class`` below ``remedi_spark.models``: called with the model's settings."""
    predictor: str
    """``module:name`` likewise: called with a fitted model; needs no Spark."""
    several_workers: bool = False
    """A fit over several tasks is another model than one in one task."""
    mixes_labels: bool = False
    """Its learner also takes the share of the label's loss in a student's loss."""


FAMILIES: list[Family] = [
    Family("hurdle", lambda model: isinstance(model, LightGBMConfig) and model.objective == "hurdle",
           "hurdle:HurdleLearner", "predictors:hurdle", several_workers=True),
    Family("lightgbm", lambda model: isinstance(model, LightGBMConfig),
           "lightgbm:LightGBMLearner", "predictors:LightGBMPredictor", several_workers=True),
    Family("xgboost", lambda model: isinstance(model, XGBoostConfig),
           "xgboost:XGBoostLearner", "predictors:XGBoostPredictor", several_workers=True),
    Family("catboost", lambda model: isinstance(model, CatBoostConfig),
           "catboost:CatBoostLearner", "catboost:CatBoostPredictor"),
    Family("net", lambda model: isinstance(model, AdditiveConfig),
           "additive:AdditiveLearner", "predictors:NetPredictor"),
    Family("net", lambda model: hasattr(model, "embedding_dim"),
           "net:NetLearner", "predictors:NetPredictor", mixes_labels=True),
]  # fmt: skip
"""In order: the first that takes a model is its family."""


def family_of(config: ModelConfig) -> Family:
    """Return the family of a configured model."""
    return next(family for family in FAMILIES if family.takes(config))


def learner_for(config: ModelConfig, *, label_weight: float = 0.0) -> Learner:
    """Return the learner of a configured model.

    ``label_weight`` is the share of the label's log-loss in a student net's loss (trees learn the target alone).
    """
    family = family_of(config)
    made: Learner = _named(family.learner)(config, *([label_weight] if family.mixes_labels else []))
    return made


def predictor_of(fitted: Fitted) -> Predictor:
    """Return what scores and explains with a fitted model, on the scale that it was fitted on."""
    family = next(family for family in FAMILIES if family.kind == fitted.kind)
    found: Predictor = _named(family.predictor)(fitted)
    return found


def depends_on_workers(config: ModelConfig) -> bool:
    """Tell whether a fit over several tasks is another model than one in one task.

    CatBoost fits in one task always, and nets see the same batches however many workers share them.
    """
    return family_of(config).several_workers


def _named(name: str) -> Any:
    module, inside = name.split(":")
    return getattr(import_module(f"remedi_spark.models.{module}"), inside)
