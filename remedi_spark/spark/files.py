"""Files and folders on whatever file system Spark finds a path on: Hadoop's, by way of the driver's JVM.

All functions raise InputError where the session has no JVM within reach, and what Spark raises
(:data:`remedi_spark.spark.errors.SPARK_ERRORS`) where the file system fails.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from remedi_spark.spark.jvm import java

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@dataclass(frozen=True)
class Stat:
    """Size and time of a file."""

    size: int
    """Bytes."""
    modified: int
    """Milliseconds since 1970, of the last change."""


def exists(spark: SparkSession, path: str) -> bool:
    """Whether Spark finds a file or folder there."""
    system, place = _located(spark, path)
    return bool(system.exists(place))


def system_of(spark: SparkSession, path: str) -> str:
    """Return the address of the file system that a path is on for Spark, such as ``hdfs://host:8020``."""
    system, _ = _located(spark, path)
    return str(system.getUri())


def stat(spark: SparkSession, path: str) -> Stat:
    """Return size and time of a file."""
    system, place = _located(spark, path)
    found = system.getFileStatus(place)
    return Stat(int(found.getLen()), int(found.getModificationTime()))


def rename(spark: SparkSession, old: str, new: str) -> bool:
    """Move a file or folder within its file system; return whether it was moved."""
    system, place = _located(spark, old)
    return bool(system.rename(place, _path(spark, new)))


def delete(spark: SparkSession, path: str) -> None:
    """Remove a file, or a folder with all that is in it; what is not there is no error."""
    system, place = _located(spark, path)
    system.delete(place, True)


def _located(spark: SparkSession, path: str) -> tuple[Any, Any]:
    """Return Hadoop's file system of a path, with the session's settings, and its path."""
    place = _path(spark, path)
    settings: Any = spark._jsparkSession.sessionState().newHadoopConf()
    return place.getFileSystem(settings), place


def _path(spark: SparkSession, path: str) -> Any:
    return java(spark, path).org.apache.hadoop.fs.Path(path)
