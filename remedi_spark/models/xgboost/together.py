"""XGBoost over several workers by ``xgboost.spark``, which reaches for the JVM."""

from __future__ import annotations

import logging
from typing import Any

from remedi_spark.config.chain import XGBoostConfig
from remedi_spark.models.contract import ROW_WEIGHT, TARGET, VALID, Examples, TrainingSet, X
from remedi_spark.models.spark_examples import SparkExamples, frame_of
from remedi_spark.models.task_rows import COLUMNS
from remedi_spark.spark.capabilities import capabilities
from remedi_spark.spark.partitions import shape

_OWN_OBJECTIVES = ("binary:logistic", "reg:squarederror")
"""What the estimators set by themselves."""


def fits(examples: Examples) -> bool:
    """Tell whether ``xgboost.spark`` can fit these rows: a frame of a session with a JVM."""
    return isinstance(examples, SparkExamples) and capabilities(examples.frame.sparkSession).has_jvm


def fit(data: TrainingSet, config: XGBoostConfig, parameters: dict[str, Any], *, refit: bool) -> bytes:
    """Return the trees up to the best round; with ``refit``, as many of a fit on all rows."""
    logger = logging.getLogger("XGBoost-PySpark")  # tells of every fit
    logger.addFilter(_warnings)
    try:
        frame = shape(frame_of(data.examples, "xgboost.spark"), data.workers).select(*COLUMNS)
        stopping = {"validation_indicator_col": VALID, "early_stopping_rounds": config.early_stopping}
        booster = _estimator(data, parameters, config.num_iterations, **stopping).fit(frame).get_booster()
        trees = booster.best_iteration + 1
        if trees >= 1 and refit:
            booster = _estimator(data, parameters, trees).fit(frame).get_booster()
    finally:
        logger.removeFilter(_warnings)
    return bytes(booster.save_raw("ubj"))


def _estimator(data: TrainingSet, parameters: dict[str, Any], rounds: int, **stopping: Any) -> Any:
    from xgboost.spark import SparkXGBClassifier, SparkXGBRegressor

    kind = SparkXGBClassifier if data.loss == "logistic" else SparkXGBRegressor
    own = {"nthread", "seed"}  # set by spark.task.cpus, and by another name
    if parameters["objective"] in _OWN_OBJECTIVES:
        own.add("objective")
    others = {name: value for name, value in parameters.items() if name not in own}
    return kind(
        features_col=X, label_col=TARGET, weight_col=ROW_WEIGHT, num_workers=data.workers, n_estimators=rounds,
        random_state=data.seed, verbose=False, **others, **stopping,
    )  # fmt: skip


def _warnings(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING
