"""LightGBM by SynapseML's estimators on a Spark frame."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from remedi_spark.maths.focal import HESSIAN_FLOOR
from remedi_spark.models.contract import ROW_WEIGHT, TARGET, VALID, Examples, TrainingSet, X
from remedi_spark.models.lightgbm.jvm.focal import check_trees, set_focal_objective
from remedi_spark.models.lightgbm.task import TaskFit
from remedi_spark.models.spark_examples import SparkExamples, frame_of
from remedi_spark.spark.jvm import has_synapseml
from remedi_spark.spark.partitions import shape

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_PASSED_THROUGH = ("force_col_wise", "extra_trees")
"""What SynapseML has no parameter of its own for."""
_PORTS = itertools.count()
_MEETING_SECONDS = 300.0
"""How long SynapseML's tasks and its thread on the driver wait for one another. Where a task was lost, that thread
keeps the driver from ending for as long: 20 minutes by default."""
_FIRST_PORT, _PORT_RANGE, _PORT_STEP = 12_400, 200, 64


def fits(examples: Examples) -> bool:
    """Tell whether SynapseML can fit these rows: a frame of a session that has its jars."""
    return isinstance(examples, SparkExamples) and has_synapseml(examples.frame.sparkSession)


def fit(data: TrainingSet, plan: TaskFit) -> str:
    """Return the model's text; a native error may leave it without a tree."""
    text = _fit(data, plan, plan.rounds, early_stopping=True)
    if not plan.refit:
        return text
    # A sixth more rows tell more than it would cost to stop a little early or late.
    return _fit(data, plan, check_trees(text), early_stopping=False)


def _fit(data: TrainingSet, plan: TaskFit, rounds: int, *, early_stopping: bool) -> str:
    from synapse.ml.lightgbm import LightGBMClassifier, LightGBMRegressor

    parameters = dict(plan.parameters)
    passed = [f"{name}={str(parameters.pop(name)).lower()}" for name in _PASSED_THROUGH]
    kind = LightGBMClassifier if data.loss == "logistic" else LightGBMRegressor
    stopping = {"validationIndicatorCol": VALID, "earlyStoppingRound": plan.patience} if early_stopping else {}
    estimator = kind(
        featuresCol="features", labelCol=TARGET, weightCol=ROW_WEIGHT, numIterations=rounds,
        # Several fits run side by side: each needs ports of its own.
        defaultListenPort=_FIRST_PORT + _PORT_STEP * (next(_PORTS) % _PORT_RANGE),
        # Streaming mode can crash on tiny data; in bulk mode one task holds its rows as one matrix.
        dataTransferMode="bulk", numTasks=data.workers, timeout=_MEETING_SECONDS, passThroughArgs=" ".join(passed),
        **stopping, **{_camel_case(name): value for name, value in parameters.items()},
    )  # fmt: skip
    if (focal := plan.focal) is not None:
        set_focal_objective(
            estimator, alpha=focal.alpha, gamma=focal.gamma, hessian_floor=HESSIAN_FLOOR, base_score=focal.start
        )
    return str(estimator.fit(_vectors(data)).getNativeModel())


def _camel_case(name: str) -> str:
    """Return SynapseML's name of a parameter of LightGBM."""
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def _vectors(data: TrainingSet) -> DataFrame:
    from pyspark.ml.functions import array_to_vector
    from pyspark.sql import functions as F

    frame = frame_of(data.examples, "SynapseML").withColumn("features", array_to_vector(F.col(X)))
    return shape(frame, data.workers).select("features", TARGET, ROW_WEIGHT, VALID)
