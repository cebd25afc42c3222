"""The families of models: one row each. A new family is a package here, its settings in the configuration, and a row.

A package has ``fit.py`` (the learner), ``predict.py`` (scores and reasons from bytes, without Spark) and ``onnx.py``
or, where its models are plain trees, ``ensemble.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from remedi_spark.config.chain import AdditiveConfig, CatBoostConfig, LightGBMConfig, ModelConfig, XGBoostConfig
from remedi_spark.errors import InputError
from remedi_spark.models.contract import Learner, Predictor
from remedi_spark.storage.fitted import Fitted

if TYPE_CHECKING:
    from remedi_spark.models.onnx_graph import Graph
    from remedi_spark.models.tree_ensemble import Ensemble, PageTrees
    from remedi_spark.samples.layout import Layout

    OnnxMargin = Callable[[Graph, Fitted, Layout, str], str]
    """Adds a fitted model to a graph; from encoded rows, (rows, width), to margins without slope and shift, (rows,)."""
    OnnxMargins = Callable[[Graph, Sequence[Sequence[Fitted]], Layout, Sequence[str]], str]
    """Adds models of several names, one a fold each, given each fold's encoded rows; to the sum of their margins with
    their slopes and without their shifts."""


_MANY_ROUNDS = 1000


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
    onnx: str = ""
    """``module:function`` likewise, an :data:`OnnxMargin`; empty, as ``trees`` is: its models have no like in ONNX."""
    onnx_together: str = ""
    """An :data:`OnnxMargins` in place of ``onnx``, where one export for all models saves seconds for each."""
    trees: str = ""
    """``module:function`` likewise: called with a fitted model, returns its :class:`Ensemble`; empty: it is no plain
    sum of trees over the encoded row. ONNX is made of it."""
    page: str = ""
    """``module:function`` likewise: called with a fitted model, returns its :class:`PageTrees`, or None where its trees
    read more than the encoded row; empty: ``trees``, if any."""
    several_workers: bool = False
    """A fit over several tasks is another model than one in one task."""
    retries_alone: bool = False
    """A fit over several tasks that failed is tried again in one."""
    mixes_labels: bool = False
    """Its learner also takes the share of the label's loss in a student's loss."""
    effort: Callable[[Any], int] = lambda _: 4
    """Tells how long the fits of a configured model take beside the other families', from 0."""


def _little(_: Any) -> int:
    return 0


def _by_rounds(model: Any) -> int:
    return int(model.num_iterations > _MANY_ROUNDS)


FAMILIES: list[Family] = [
    Family("hurdle", lambda model: isinstance(model, LightGBMConfig) and model.objective == "hurdle",
           "hurdle:HurdleLearner", "hurdle:load",
           several_workers=True, retries_alone=True, effort=_by_rounds),
    Family("lightgbm", lambda model: isinstance(model, LightGBMConfig),
           "lightgbm.fit:LightGBMLearner", "lightgbm.predict:LightGBMPredictor", trees="lightgbm.ensemble:ensemble_of",
           several_workers=True, retries_alone=True, effort=_by_rounds),
    Family("xgboost", lambda model: isinstance(model, XGBoostConfig),
           "xgboost.fit:XGBoostLearner", "xgboost.predict:XGBoostPredictor", trees="xgboost.ensemble:ensemble_of",
           several_workers=True, effort=_little),
    Family("catboost", lambda model: isinstance(model, CatBoostConfig),
           "catboost.fit:CatBoostLearner", "catboost.predict:CatBoostPredictor", "catboost.onnx:margin",
           page="catboost.page:trees_of", effort=lambda model: 3 if model.categories else 1),
    Family("net", lambda model: isinstance(model, AdditiveConfig),
           "additive.fit:AdditiveLearner", "nets.predict:NetPredictor", onnx_together="nets.onnx:margins",
           effort=_little),
    Family("net", lambda model: hasattr(model, "embedding_dim"),
           "nets.fit:NetLearner", "nets.predict:NetPredictor", onnx_together="nets.onnx:margins", mixes_labels=True),
]  # fmt: skip
"""In order: the first that takes a model is its family."""


def family_of(config: ModelConfig) -> Family:
    """Return the family of a configured model."""
    return next(family for family in FAMILIES if family.takes(config))


def family_of_fitted(fitted: Fitted) -> Family:
    """Return the family of a fitted model.

    Raises:
        InputError: it is of a kind that no family has.
    """
    for family in FAMILIES:
        if family.kind == fitted.kind:
            return family
    known = ", ".join(dict.fromkeys(family.kind for family in FAMILIES))
    raise InputError(
        f"a stored model is of kind {fitted.kind!r}, expected one of {known}; was it written by a newer version?"
    )


def learner_for(config: ModelConfig, *, label_weight: float = 0.0) -> Learner:
    """Return the learner of a configured model.

    ``label_weight`` is the share of the label's log-loss in a student net's loss (trees learn the target alone).
    """
    family = family_of(config)
    made: Learner = _named(family.learner)(config, *([label_weight] if family.mixes_labels else []))
    return made


def predictor_of(fitted: Fitted) -> Predictor:
    """Return what scores and explains with a fitted model, on the scale that it was fitted on."""
    found: Predictor = _named(family_of_fitted(fitted).predictor)(fitted)
    return found


def depends_on_workers(config: ModelConfig) -> bool:
    """Tell whether a fit over several tasks is another model than one in one task.

    CatBoost fits in one task always, and nets see the same batches however many workers share them.
    """
    return family_of(config).several_workers


def onnx_margin(family: Family) -> OnnxMargin | None:
    """Return what adds one model of a family to an ONNX graph; None: nothing does."""
    if family.onnx:
        return cast("OnnxMargin", _named(family.onnx))
    trees = trees_of(family)
    return None if trees is None else cast("OnnxMargin", _named("onnx_trees:margin_of")(trees))


def trees_of(family: Family) -> Callable[[Fitted], Ensemble] | None:
    """Return what reads the trees of a fitted model; None: it is no plain sum of trees."""
    return cast("Callable[[Fitted], Ensemble]", _named(family.trees)) if family.trees else None


def page_trees(fitted: Fitted) -> PageTrees | None:
    """Return the trees of a fitted model as a page asks them; None: it is no plain sum of trees."""
    family = family_of_fitted(fitted)
    read = family.page or family.trees
    return cast("PageTrees | None", _named(read)(fitted)) if read else None


def onnx_margins(family: Family) -> OnnxMargins | None:
    """Return what adds all models of a family to an ONNX graph; None: they are added one by one, if at all."""
    return cast("OnnxMargins", _named(family.onnx_together)) if family.onnx_together else None


def onnx_kinds() -> list[str]:
    """Return the kinds of fitted models that have a like in ONNX."""
    return list(
        dict.fromkeys(family.kind for family in FAMILIES if family.trees or family.onnx or family.onnx_together)
    )


def _named(name: str) -> Any:
    module, inside = name.split(":")
    return getattr(import_module(f"remedi_spark.models.{module}"), inside)
