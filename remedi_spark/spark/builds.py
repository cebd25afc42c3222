"""Which Scala, Java, Delta and SynapseML fit a Spark: a table, and the jars that follow from it."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass

from remedi_spark.errors import InputError


@dataclass(frozen=True)
class Build:
    """A Spark, and what fits it."""

    spark: str
    """Its version, as ``major.minor``."""
    scala: str
    """Scala's, as ``major.minor``."""
    java: tuple[int, ...]
    """Major versions of Java."""
    delta: str
    """Delta's version, as ``major.minor``."""
    delta_artifact: str
    """Delta's Maven package, without its version."""
    ivy: str = ".ivy2.5.2"
    """Folder of the home that jars are fetched into, unless ``spark.jars.ivy`` names another."""
    synapseml: str | None = None
    """SynapseML's Maven package; None: Maven Central has none for this Spark."""


BUILDS = (
    Build("3.5", "2.12", (8, 11, 17), "3.3", "io.delta:delta-spark_2.12",
          ".ivy2", "com.microsoft.azure:synapseml-lightgbm_2.12:1.1.3"),
    Build("4.0", "2.13", (17, 21), "4.0", "io.delta:delta-spark_2.13"),
    Build("4.1", "2.13", (17, 21), "4.4", "io.delta:delta-spark_4.1_2.13"),
)  # fmt: skip
"""The suite runs on the first, the chain on 4.1 too (docs/platforms.md); 4.0 stands for its jars alone.

Delta 4.1.0 was built for a Spark 4.1 that had another class than 4.1.4 has: OPTIMIZE ends with a missing class.
"""


def build_of(spark: str) -> Build:
    """Return what fits a version of Spark.

    Raises:
        InputError: none of the builds is for it.
    """
    found = find_build(spark)
    if found is None:
        raise InputError(f"Spark: found {spark}, {expected()}")
    return found


def find_build(spark: str) -> Build | None:
    """Return what fits a version of Spark; None: nothing is known to."""
    return next((one for one in BUILDS if one.spark == series(spark)), None)


def expected() -> str:
    """Return which versions of Spark something is known to fit, and what to do."""
    return f"expected one of {', '.join(one.spark for one in BUILDS)}; {_install(BUILDS[-1])}"


def installed_build() -> Build:
    """Return what fits the installed PySpark.

    Raises:
        InputError: there is no PySpark, it is none of the builds, or the installed Delta is not the one that fits it.
    """
    spark, delta = _installed("pyspark"), _installed("delta-spark")
    if spark is None:
        raise InputError(f"Spark: found no pyspark in this Python; {_install(BUILDS[-1])}")
    build = build_of(spark)
    if delta is None or series(delta) != build.delta:
        found = "no delta-spark" if delta is None else f"delta-spark {delta}"
        raise InputError(
            f"Delta: found {found} beside pyspark {spark}, expected delta-spark {build.delta}; {_install(build)}"
        )
    return build


def packages(build: Build) -> tuple[str, ...]:
    """Return the Maven packages that a session of the installed PySpark and Delta needs."""
    delta = f"{build.delta_artifact}:{_installed('delta-spark')}"
    return (delta,) if build.synapseml is None else (delta, build.synapseml)


def series(version: str) -> str:
    """Return major and minor of a version: ``4.1`` for ``4.1.4``."""
    return ".".join(version.split(".")[:2])


def _install(build: Build) -> str:
    return f'pip install "pyspark=={build.spark}.*" "delta-spark=={build.delta}.*"'


def _installed(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
