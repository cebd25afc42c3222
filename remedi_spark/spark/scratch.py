"""Rows that a session cannot keep, in files that are gone when the rows are not needed any more."""

from __future__ import annotations

import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from remedi_spark.progress import log
from remedi_spark.spark.capabilities import capabilities, is_local
from remedi_spark.spark.errors import SPARK_ERRORS
from remedi_spark.spark.literal_paths import literally

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

PREFIX = "remedi_scratch_"
_LEFT_SECONDS = 24 * 3600.0
"""Age from which on a scratch folder is one that a killed run has left behind."""


@dataclass(frozen=True)
class _Place:
    where: str
    in_catalog: bool


_places: WeakKeyDictionary[SparkSession, _Place] = WeakKeyDictionary()


def keep_in_folder(spark: SparkSession, folder: Path) -> None:
    """Let rows that the session cannot keep be written below a folder that driver and executors share."""
    if capabilities(spark).can_cache:
        return
    _tidy(folder)
    _set(spark, _Place(str(folder.resolve()), in_catalog=False))


def keep_in_schema(spark: SparkSession, schema: str) -> None:
    """Let rows that the session cannot keep be written as tables of a schema, which is named as SQL does."""
    if not capabilities(spark).can_cache:
        _set(spark, _Place(schema, in_catalog=True))


@contextmanager
def written(frame: DataFrame) -> Iterator[DataFrame]:
    """Write the rows of a frame while the block runs and read them from there; compute them again without a place."""
    place = _place(frame.sparkSession)
    if not place.where:
        yield frame
        return
    name = f"{PREFIX}{uuid.uuid4().hex}"
    with _as_table(frame, f"{place.where}.{name}") if place.in_catalog else _as_files(frame, place.where, name) as rows:
        yield rows


@contextmanager
def _as_files(frame: DataFrame, folder: str, name: str) -> Iterator[DataFrame]:
    path, plain = Path(folder) / f".{name}", _plain(frame)
    try:
        plain.write.parquet(str(path))
        reader, paths = literally(frame.sparkSession.read.schema(plain.schema), frame.sparkSession, [str(path)])
        yield reader.parquet(*paths).toDF(*frame.columns)
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _as_table(frame: DataFrame, table: str) -> Iterator[DataFrame]:
    spark = frame.sparkSession
    try:
        _plain(frame).write.format("delta").saveAsTable(table)
        yield spark.read.table(table).toDF(*frame.columns)
    finally:
        with suppress(*SPARK_ERRORS):
            spark.sql(f"DROP TABLE IF EXISTS {table}").collect()


def _plain(frame: DataFrame) -> DataFrame:
    """Return the rows with names that every format takes."""
    return frame.toDF(*(f"c{number}" for number in range(len(frame.columns))))


def _place(spark: SparkSession) -> _Place:
    """Return where the rows of a session go; nowhere, where nothing has been offered that its executors see."""
    if spark not in _places:
        _set(spark, _Place(tempfile.gettempdir() if is_local(spark) else "", in_catalog=False))
    return _places[spark]


def _set(spark: SparkSession, place: _Place) -> None:
    if _places.get(spark) != place:
        done = f"go to scratch files in {place.where}" if place.where else "are computed again for every query"
        log("spark", f"this session keeps no rows: those that are read more than once {done}")
    _places[spark] = place


def _tidy(folder: Path) -> None:
    for one in folder.glob(f".{PREFIX}*"):
        with suppress(OSError):
            if time.time() - one.stat().st_mtime > _LEFT_SECONDS:
                shutil.rmtree(one, ignore_errors=True)
