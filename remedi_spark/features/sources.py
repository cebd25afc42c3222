"""Events as the other modules want them: owner, day of the event, day it became known, and the user's columns."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql import types as T

from remedi_spark.columns import OWNER
from remedi_spark.errors import InputError
from remedi_spark.features.expressions import column, quoted, require
from remedi_spark.spark.tables import read_table

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

    from remedi_spark.config.features import Attributes, Join, Location, Source

DAY = "__day"
"""Day of the event, in the session's time zone."""
KNOWN = "__known"
"""Day from which the event is known: the later of its own day and the day it arrived."""


def read_location(spark: SparkSession, location: Location, where: str) -> DataFrame:
    """Read a path, a catalog table or a file of an installed package; ``where`` names the key in errors."""
    if location.package is not None:
        return spark.read.parquet(str(package_file(location.package, where)))
    return read_table(spark, location.table or location.path or "")


def package_file(resource: str, where: str) -> Path:
    """Find ``package/folder/file.parquet`` among the installed packages, without importing the package."""
    package, _, inside = resource.partition("/")
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        hint = package.replace("_", "-")
        raise InputError(f"{where}.package: package {package!r} is not installed; pip install {hint}")
    for folder in found.submodule_search_locations:
        if (path := Path(folder) / inside).exists():
            return path
    raise InputError(f"{where}.package: {inside!r} is not a file of package {package!r}; check the path")


def read_source(spark: SparkSession, source: Source, where: str) -> DataFrame:
    """Read an event log with its dimension columns joined and its filter applied."""
    frame = read_location(spark, source, where)
    for name, join in source.joins.items():
        at = f"{where}.joins.{name}"
        frame = join_dimension(frame, read_location(spark, join, at), join, at)
    if source.filter is None:
        return frame
    return frame.filter(column(frame, source.filter, f"{where}.filter"))


def join_dimension(events: DataFrame, dimension: DataFrame, join: Join, where: str) -> DataFrame:
    """Add the dimension's columns to every event; a key that is not unique would multiply events, so it is an error."""
    for side, frame in (("events", events), ("dimension", dimension)):
        require(frame, join.key, f"{where}.key ({side})")
    for name in join.columns:
        require(dimension, name, f"{where}.columns")
    if taken := sorted(set(join.columns) & set(events.columns)):
        raise InputError(f"{where}.columns: {taken} are columns of the events already; leave them out")
    picked = dimension.select(join.key, *join.columns)
    repeated = picked.groupBy(join.key).count().filter("count > 1").first()
    if repeated is not None:
        raise InputError(f"{where}.key: {join.key} = {repeated[0]} has {repeated[1]} rows, expected one row a key")
    return events.join(picked, join.key, "left")


def as_events(frame: DataFrame, source: Source, entity: str, where: str) -> DataFrame:
    """Return the source's columns with ``owner_id`` (string), :data:`DAY` and :data:`KNOWN` (dates) added.

    Rows whose owner or event time is null (or no date) are left out: see :func:`unusable`.
    """
    key = source.key or entity
    require(frame, key, f"{where}.key")
    day = _day(frame, source.event_time, f"{where}.event_time")
    known = day
    if source.arrival_time is not None:
        # greatest() skips nulls: without an arrival time an event is known from its own day.
        known = F.greatest(day, _day(frame, source.arrival_time, f"{where}.arrival_time"))
    dated = frame.withColumns({OWNER: F.col(quoted(key)).cast("string"), DAY: day, KNOWN: known})
    return dated.filter(F.col(OWNER).isNotNull() & F.col(DAY).isNotNull())


def unusable(frame: DataFrame, source: Source, entity: str, where: str) -> int:
    """Count the rows that no owner or no day can be read from."""
    day = _day(frame, source.event_time, f"{where}.event_time")
    return frame.filter(F.col(quoted(source.key or entity)).isNull() | day.isNull()).count()


def as_attributes(frame: DataFrame, config: Attributes, entity: str, where: str) -> DataFrame:
    """Return ``owner_id``, the declared columns and, for attributes with a time, :data:`DAY` and :data:`KNOWN`."""
    key = config.key or entity
    for name in (key, *config.columns):
        require(frame, name, f"{where}.columns")
    picked = [F.col(quoted(key)).cast("string").alias(OWNER), *(F.col(quoted(name)) for name in config.columns)]
    if config.time is not None:
        day = _day(frame, config.time, f"{where}.time")
        late = day if config.arrival_time is None else _day(frame, config.arrival_time, f"{where}.arrival_time")
        picked += [day.alias(DAY), F.greatest(day, late).alias(KNOWN)]
    rows = frame.select(*picked).filter(F.col(OWNER).isNotNull())
    return rows if config.time is None else rows.filter(F.col(DAY).isNotNull())


def _day(frame: DataFrame, name: str, where: str) -> Column:
    require(frame, name, where)
    found = frame.schema[name].dataType
    if not isinstance(found, (T.DateType, T.TimestampType, T.TimestampNTZType, T.StringType)):
        raise InputError(f"{where}: {name!r} is of type {found.simpleString()}, expected a date or a timestamp")
    return F.to_date(F.col(quoted(name)))
