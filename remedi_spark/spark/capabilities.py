"""What a session can do: asked of the session, never of its version."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


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
    return Capabilities(has_jvm, can_cache=has_jvm, can_barrier=has_jvm and not dynamic_allocation(spark))


def dynamic_allocation(spark: SparkSession) -> bool:
    """Tell whether executors may come and go, so that Spark refuses barrier stages."""
    return spark.conf.get("spark.dynamicAllocation.enabled", "false") == "true"
