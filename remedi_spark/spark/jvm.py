"""The driver's JVM, where a session has one within reach."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from remedi_spark.errors import InputError
from remedi_spark.spark.capabilities import capabilities
from remedi_spark.spark.errors import SPARK_ERRORS

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


SYNAPSEML_CLASS = "com.microsoft.azure.synapse.ml.lightgbm.LightGBMClassifier"


@dataclass(frozen=True)
class Runtime:
    """What the driver runs on."""

    java: str
    """Version of Java, such as ``17.0.9``."""
    scala: str
    """Version of Scala, such as ``2.12.18``."""
    heap_bytes: int
    """How large the heap may become."""


def java(spark: SparkSession, what: str) -> Any:
    """Return py4j's view of the driver's JVM.

    Args:
        spark: the session.
        what: what needs it, for the message.

    Raises:
        InputError: the session is one of Spark Connect, which has none within reach.
    """
    if not capabilities(spark).has_jvm:
        raise InputError(
            f"{what}: needs the driver's JVM, which a session of Spark Connect does not reach; run it with a classic"
            " session, such as spark-submit's"
        )
    return spark._jvm


def runtime(spark: SparkSession) -> Runtime:
    """Return what the driver runs on.

    Raises:
        InputError: the session has no JVM within reach.
    """
    jvm = java(spark, "the versions of Java and Scala")
    return Runtime(
        str(jvm.java.lang.System.getProperty("java.version")),
        str(jvm.scala.util.Properties.versionNumberString()),
        int(jvm.java.lang.Runtime.getRuntime().maxMemory()),
    )


def jar_of(spark: SparkSession, class_name: str) -> str | None:
    """Return the file name of the jar that a class comes from; None where the class path has no such class.

    Raises:
        InputError: the session has no JVM within reach.
    """
    jvm = java(spark, f"a look for {class_name}")
    try:
        found = jvm.java.lang.Thread.currentThread().getContextClassLoader().loadClass(class_name)
    except SPARK_ERRORS:
        return None
    source = found.getProtectionDomain().getCodeSource()
    return "" if source is None else Path(str(source.getLocation().getPath())).name


def has_synapseml(spark: SparkSession) -> bool:
    """Tell whether SynapseML's LightGBM can be used in a session: its classes, and its Python package."""
    if not capabilities(spark).has_jvm or jar_of(spark, SYNAPSEML_CLASS) is None:
        return False
    try:
        importlib.import_module("synapse.ml.lightgbm")
    except ImportError:
        return False
    return True
