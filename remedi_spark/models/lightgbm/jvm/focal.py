"""Focal loss as the objective of a SynapseML LightGBM estimator; its maths runs in the JVM (``FocalLoss.java``).

A custom objective has no ``boost_from_average``: it starts from ``base_score``, which the trees do not contain. So
margin = ``booster.predict(x, raw_score=True) + base_score``; SynapseML's ``probability`` is none, and σ(margin) is one
of a prior that the focal loss has shifted: recalibrate it. Row weights are multiplied in here. Metrics see the margin
without ``base_score`` and link: ``binary_logloss`` is meaningless and stops at the first tree. SynapseML swallows an
exception of the objective and returns the trees so far, perhaps none: call :func:`check_trees` after every fit.
"""

from __future__ import annotations

import math
import re
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from remedi_spark.errors import InputError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

OBJECTIVE_CLASS = "remedi.spark.FocalLoss"
JAR_NAME = "remedi-focal.jar"

JvmObject = Any  # py4j's proxy of an object in the JVM: its methods are found at run time


class CustomObjectiveEstimator(Protocol):
    """A SynapseML LightGBM estimator: the part of it that takes an objective."""

    def setFobj(self, value: JvmObject) -> object:  # noqa: N802 (SynapseML's name)
        """Keep the objective as a parameter, which every ``fit`` and ``copy`` hands to the JVM again."""


def jar_path() -> Path:
    """Return the jar's path, for ``spark.jars`` or ``spark-submit --jars``.

    Raises:
        InputError: the package is not installed as files (for example imported from a zip).
    """
    path = Path(str(resources.files("remedi_spark.models.lightgbm.jvm").joinpath(JAR_NAME)))
    if not path.is_file():
        raise InputError(
            f"{JAR_NAME}: found no such file at {path}, expected it beside the package's code; install the wheel rather"
            f" than a zip, or extract the jar and pass it by spark-submit --jars"
        )
    return path


def set_focal_objective(
    estimator: CustomObjectiveEstimator,
    *,
    alpha: float,
    gamma: float,
    hessian_floor: float,
    base_score: float,
) -> None:
    """Make ``estimator`` minimise the focal loss; later fits and copies of it keep the objective.

    Args:
        estimator: a ``LightGBMClassifier`` of SynapseML, for labels 0 and 1.
        alpha: weight of a positive, in (0, 1); a negative weighs ``1 - alpha``.
        gamma: focusing exponent, 0 or more; 0 leaves the log-loss weighted by ``alpha``.
        hessian_floor: least second derivative of a row before its weight, above 0 (the loss is not convex).
        base_score: the margin, in log-odds, that boosting starts from. The fitted trees do not include it.

    Raises:
        InputError: a value is out of range, or the JVM cannot load the objective.
    """
    _check_ranges(alpha, gamma, hessian_floor, base_score)
    objective_class = _load_class(_session())
    estimator.setFobj(_construct(objective_class, alpha, gamma, hessian_floor, base_score))


def check_trees(native_model: str) -> int:
    """Return how many trees of a LightGBM model text have a split.

    Args:
        native_model: what ``model.getNativeModel()`` returns.

    Raises:
        RuntimeError: there is none, so every row would get the same score.
    """
    splitting = sum(int(leaves) > 1 for leaves in re.findall(r"^num_leaves=(\d+)$", native_model, flags=re.MULTILINE))
    if splitting == 0:
        raise RuntimeError(
            "LightGBM: found a model without a single split, expected at least one; either an iteration failed (look"
            " for SynapseML's warning 'early termination' in the executor's log), or no split meets minDataInLeaf and"
            " minSumHessianInLeaf: lower them"
        )
    return splitting


def _check_ranges(alpha: float, gamma: float, hessian_floor: float, base_score: float) -> None:
    checks = (
        ("alpha", alpha, 0.0 < alpha < 1.0, "a number between 0 and 1, both excluded"),
        ("gamma", gamma, 0.0 <= gamma < math.inf, "a finite number of at least 0"),
        ("hessian_floor", hessian_floor, 0.0 < hessian_floor < math.inf, "a finite number above 0"),
        ("base_score", base_score, math.isfinite(base_score), "a finite number of log-odds"),
    )
    for name, found, valid, expected in checks:
        if not valid:
            raise InputError(f"focal loss: {name}: found {found!r}, expected {expected}")


def _session() -> SparkSession:
    from pyspark.sql import SparkSession

    return SparkSession.builder.getOrCreate()  # the estimator exists, so its session does


def _load_class(spark: SparkSession) -> JvmObject:
    """Return the objective's ``java.lang.Class``; on a running session without the jar, add the jar first.

    The class is asked of Spark's own loader, because py4j resolves names by the context loader of the current thread,
    which an added jar reaches in one thread only.
    """
    loader = spark._jsparkSession.sharedState().jarClassLoader()
    if (found := _find_class(loader)) is not None:
        return found
    _add_jar(spark, loader, jar_path())
    if (found := _find_class(loader)) is not None:
        return found
    raise InputError(
        f"focal loss: found no class {OBJECTIVE_CLASS} in the Spark session and could not add it; start the session"
        f" with spark-submit --jars {jar_path()}, or install that jar as a library of the cluster"
    )


def _find_class(loader: JvmObject) -> JvmObject | None:
    from py4j.protocol import Py4JJavaError

    try:
        return loader.loadClass(OBJECTIVE_CLASS)
    except Py4JJavaError as error:
        if "ClassNotFoundException" not in str(error.java_exception):
            raise
        return None


def _add_jar(spark: SparkSession, loader: JvmObject, jar: Path) -> None:
    """Add ``jar`` to the executors and to the driver; SQL's ADD JAR does the same, but not for a path with a space."""
    context = spark.sparkContext
    context._jsc.addJar(str(jar))
    loader.addURL(context._jvm.java.io.File(str(jar)).toURI().toURL())  # type: ignore[union-attr]


def _construct(objective_class: JvmObject, *arguments: float) -> JvmObject:
    """Call the class's one constructor by reflection: it may be unknown to the current thread's loader."""
    gateway = _session().sparkContext._gateway
    values = gateway.new_array(gateway.jvm.java.lang.Object, len(arguments))  # type: ignore[union-attr]
    for index, argument in enumerate(arguments):
        values[index] = float(argument)
    return objective_class.getConstructors()[0].newInstance(values)
