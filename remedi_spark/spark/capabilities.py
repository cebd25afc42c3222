"""What a session can do: asked of the session, never of its version."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

OWN_SERVER = "SPARK_LOCAL_REMOTE"
"""What PySpark sets in the environment when it starts a Connect server in this process's JVM."""


@dataclass(frozen=True)
class Capabilities:
    """What may be used of a session."""

    has_jvm: bool
    """Whether Python reaches the driver's JVM, and with it RDDs, broadcasts and Hadoop's file systems."""
    can_cache: bool
    """Whether rows can be kept between queries."""
    can_barrier: bool
    """Whether a stage may start all of its tasks together."""


def capabilities(spark: SparkSession) -> Capabilities:
    """Return what a session can do; a session of Spark Connect has no JVM within reach."""
    has_jvm = hasattr(spark, "_jsparkSession")
    # A plain Connect server keeps rows and a serverless one refuses to: scratch files serve both.
    return Capabilities(has_jvm, can_cache=has_jvm, can_barrier=not dynamic_allocation(spark))


def setting(spark: SparkSession, name: str, default: str) -> str:
    """Return a setting of the session or of its cluster, ``default`` where it has none or does not show it."""
    from pyspark.errors import PySparkException

    try:
        found = spark.conf.get(name, default)
    except PySparkException:  # serverless platforms show a few of their settings only
        return default
    return default if found is None else str(found)


@contextmanager
def asked_for(spark: SparkSession, name: str, value: str) -> Iterator[bool]:
    """Have a setting be ``value`` while the block runs; yield whether it is: serverless platforms allow only a few."""
    from pyspark.errors import PySparkException

    try:
        before = str(spark.conf.get(name))
        spark.conf.set(name, value)
    except PySparkException:
        yield False
        return
    try:
        yield True
    finally:
        spark.conf.set(name, before)


def offer(spark: SparkSession, settings: Mapping[str, Any]) -> list[str]:
    """Set what a session lets a client set; return the names that it refused, none of which is worth a failure."""
    return [name for name, value in settings.items() if not _set(spark, name, value)]


def _set(spark: SparkSession, name: str, value: Any) -> bool:
    from pyspark.errors import PySparkException

    with suppress(PySparkException):
        spark.conf.set(name, value)
        return True
    return False


def dynamic_allocation(spark: SparkSession) -> bool:
    """Whether executors may come and go, so that Spark refuses barrier stages."""
    return setting(spark, "spark.dynamicAllocation.enabled", "false") == "true"


def is_local(spark: SparkSession) -> bool:
    """Whether tasks run on the driver's machine, in its JVM; where it is not known, they do not.

    A Connect server at an address may be on any machine; that of ``SPARK_REMOTE=local[2]`` is this process's own.
    """
    within_reach = capabilities(spark).has_jvm or OWN_SERVER in os.environ
    return within_reach and setting(spark, "spark.master", "").startswith("local")
