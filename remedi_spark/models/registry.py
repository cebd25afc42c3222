"""Learners: LightGBM, XGBoost, CatBoost and torch nets behind one contract."""

from __future__ import annotations

from remedi_spark.config.chain import AdditiveConfig, CatBoostConfig, LightGBMConfig, ModelConfig, XGBoostConfig
from remedi_spark.models.contract import Learner


def learner_for(config: ModelConfig, *, label_weight: float = 0.0) -> Learner:
    """Return the learner of a configured model; only its own libraries are imported.

    ``label_weight`` is the share of the label's log-loss in a student net's loss (trees learn the target alone).
    """
    if isinstance(config, LightGBMConfig) and config.objective == "hurdle":
        from remedi_spark.models.hurdle import HurdleLearner

        return HurdleLearner(config)
    if isinstance(config, LightGBMConfig):
        from remedi_spark.models.lightgbm import LightGBMLearner

        return LightGBMLearner(config)
    if isinstance(config, XGBoostConfig):
        from remedi_spark.models.xgboost import XGBoostLearner

        return XGBoostLearner(config)
    if isinstance(config, CatBoostConfig):
        from remedi_spark.models.catboost import CatBoostLearner

        return CatBoostLearner(config)
    if isinstance(config, AdditiveConfig):
        from remedi_spark.models.additive import AdditiveLearner

        return AdditiveLearner(config)
    from remedi_spark.models.net import NetLearner

    return NetLearner(config, label_weight)


def depends_on_workers(config: ModelConfig) -> bool:
    """Whether a fit over several tasks is another model than one in one task: of boosters that can take several.

    CatBoost fits in one task always, and nets see the same batches however many workers share them.
    """
    return isinstance(config, LightGBMConfig | XGBoostConfig)
