"""Where a path is: on this machine's file systems, or on one that only Spark reaches."""

from __future__ import annotations

import re
import shutil
import uuid
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from remedi_spark.errors import InputError, cause, unknown_file_system
from remedi_spark.reading.paths import is_remote
from remedi_spark.spark import files
from remedi_spark.spark.capabilities import capabilities, is_local
from remedi_spark.spark.errors import SPARK_ERRORS
from remedi_spark.storage.file_systems import Files, reached

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa
    from pyspark.sql import SparkSession

_LOCAL = re.compile(r"^(file:/+|dbfs:/+(?=Volumes/))", re.IGNORECASE)
_VOLUMES = "/Volumes"
_reached: set[str] = set()
"""Addresses that this process has tried."""


def local_name(path: str) -> str:
    """Return a path without a scheme that stands for ordinary paths: ``file:``, and ``dbfs:`` before ``/Volumes``."""
    return _LOCAL.sub("/", path)


def require_local(path: str | Path, what: str) -> Path:
    """Return the folder that a path stands for.

    Args:
        path: as the user gave it.
        what: the setting or option, for the message.

    Raises:
        InputError: Python could only make a folder called ``hdfs:`` of it, or it is a volume and none is mounted.
    """
    name = local_name(str(path))
    if name != str(path) and name.startswith(_VOLUMES) and not Path(_VOLUMES).exists():
        raise InputError(f"{what}: found {path}, and no {_VOLUMES} on this machine; expected to run on Databricks")
    if is_remote(name):
        raise InputError(
            f"{what}: found {path}, expected an ordinary folder that the driver can write and later runs can read, such"
            " as /shared/model or /Volumes/catalog/schema/model"
        )
    return Path(name)


def on_cluster(spark: SparkSession) -> bool:
    """Whether executors are other processes than the driver, perhaps on other machines."""
    return not is_local(spark)


def require_shared(spark: SparkSession, folder: Path, tasks: int, what: str) -> None:
    """Refuse a folder that driver and executors do not see as the same one; on one machine there is nothing to try.

    Raises:
        InputError: an executor does not see what the driver writes there, or Spark writes elsewhere.
    """
    if on_cluster(spark):
        try_shared(spark, folder, tasks, what)


def try_shared(spark: SparkSession, folder: Path, tasks: int, what: str) -> None:
    """Write a marker as the driver and look for it in tasks, then the other way round; see :func:`require_shared`."""
    name = f".remedi-{uuid.uuid4().hex}"
    ours, theirs = folder.resolve() / name, folder.resolve() / f"{name}.spark"
    fix = f"expected a folder that the driver and all executors share; name another one for {what}"
    ours.write_text("seen\n")
    try:
        seen = spark.range(tasks, numPartitions=tasks).mapInArrow(_looker(str(ours)), "seen boolean").collect()
        blind = sum(not row["seen"] for row in seen)
        if blind:
            raise InputError(f"{what} {folder}: {blind} of {tasks} tasks on executors do not see it; {fix}")
        spark.range(1, numPartitions=1).write.csv(str(theirs))
        if not any(theirs.glob("part-*")):
            raise InputError(f"{what} {folder}: Spark writes it elsewhere than the driver reads it; {fix}")
    finally:
        ours.unlink(missing_ok=True)
        _remove(spark, theirs)


def require_reached(spark: SparkSession, there: Files, tasks: int, what: str) -> None:
    """Refuse an address that this process, or Spark on driver and executors, cannot read and write as the same place.

    Tried once by a process. What is written for it is removed.

    Raises:
        InputError: says who does not reach it and why.
    """
    if there.address in _reached:
        return
    ours = f"remedi-{uuid.uuid4().hex}.txt"  # Spark would not see a hidden one
    theirs = f"{ours}.spark"
    fix = f"name another place for {what}, or give Spark and this process the same endpoint and credentials"
    with reached(there.address, what):
        there.make()
        there.write(ours, b"seen\n")
        try:
            seen = spark.read.text([f"{there.address}/{ours}"] * tasks).count()
            spark.range(1, numPartitions=1).write.csv(f"{there.address}/{theirs}")
            if not seen or not any("/part-" in one.name for one in there.entries(theirs)):
                raise InputError(f"{what} {there.address}: Spark writes it elsewhere than this process reads it; {fix}")
        except SPARK_ERRORS as error:
            why = unknown_file_system(error) or f"Spark cannot use it ({cause(error)[:300]}); {fix}"
            raise InputError(f"{what} {there.address}: {why}") from error
        finally:
            there.remove(ours)
            there.remove_folder(theirs)
    _reached.add(there.address)


def _looker(path: str) -> Any:
    def look(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        for _ in batches:
            yield pa.RecordBatch.from_pydict({"seen": [Path(path).exists()]})

    return look


def _remove(spark: SparkSession, folder: Path) -> None:
    """Remove a folder that Spark wrote, wherever it did."""
    if not capabilities(spark).has_jvm:
        shutil.rmtree(folder, ignore_errors=True)
        return
    with suppress(Exception):
        files.delete(spark, str(folder))
