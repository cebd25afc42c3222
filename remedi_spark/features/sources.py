"""Events as the other modules want them: owner, day of the event, day it became known, and the user's columns."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql import types as T

from remedi_spark.columns import OWNER
from remedi_spark.errors import InputError
from remedi_spark.features.expressions import require
from remedi_spark.features.ids import id_family, id_text
from remedi_spark.features.times import day_of, moment_of
from remedi_spark.spark.names import quoted

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from remedi_spark.config.features import FeaturesConfig
    from remedi_spark.config.sources import Attributes, Source

DAY = "__day"
"""Day of the event, in the session's time zone."""
UNTIL = "__until"
"""First day on which an attribute no longer holds; null: it holds."""
MOMENT = "__at"
"""Timestamp of the event; midnight of its day where its time is a day."""
KNOWN = "__known"
"""Day from which the event is known: the later of its own day and the day it arrived."""


def as_events(frame: DataFrame, source: Source, entity: str, where: str) -> DataFrame:
    """Return the source's columns with ``owner_id`` (string), :data:`DAY`, :data:`KNOWN` (dates), :data:`MOMENT`.

    Rows whose owner or event time is null (or no date) are left out: ``quality.py`` quarantines them.
    """
    key = source.key or entity
    require(frame, key, f"{where}.key")
    rows = dated(frame, source, where)
    moment = moment_of(frame, source.event_time, source.time_zone, F.col(DAY))
    owned = rows.withColumns({OWNER: id_text(frame, key), MOMENT: moment})
    return owned.filter(F.col(OWNER).isNotNull() & F.col(DAY).isNotNull())


def dated(frame: DataFrame, source: Source, where: str) -> DataFrame:
    """Return all rows of the source with :data:`DAY` and :data:`KNOWN` added, null where the event time is no date."""
    day = day_of(frame, source.event_time, source.time_zone, source.months, f"{where}.event_time")
    known = day
    if source.arrival_time is not None:
        # greatest() skips nulls: without an arrival time an event is known from its own day.
        arrived = day_of(frame, source.arrival_time, source.time_zone, source.months, f"{where}.arrival_time")
        known = F.when(day.isNotNull(), F.greatest(day, arrived))
    return frame.withColumns({DAY: day, KNOWN: known})


def as_attributes(frame: DataFrame, config: Attributes, entity: str, where: str) -> DataFrame:
    """Return ``owner_id``, the declared columns and, for attributes with a time, :data:`DAY` and :data:`KNOWN`."""
    key = config.key or entity
    for name in (key, *config.columns):
        require(frame, name, f"{where}.columns")
    picked = [id_text(frame, key).alias(OWNER), *(F.col(quoted(name)) for name in config.columns)]
    if config.time is not None:
        day = day_of(frame, config.time, config.time_zone, config.months, f"{where}.time")
        late = day
        if config.arrival_time is not None:
            late = day_of(frame, config.arrival_time, config.time_zone, config.months, f"{where}.arrival_time")
        picked += [day.alias(DAY), F.greatest(day, late).alias(KNOWN)]
    if config.until is not None:
        picked.append(day_of(frame, config.until, config.time_zone, config.months, f"{where}.until").alias(UNTIL))
    rows = frame.select(*picked).filter(F.col(OWNER).isNotNull())
    return rows if config.time is None else rows.filter(F.col(DAY).isNotNull())


def check_agreement(config: FeaturesConfig, frames: dict[str, DataFrame]) -> None:
    """Refuse tables that cannot be put together: keys of different types, times with and without a zone.

    Raises InputError that names both tables and what to do.
    """
    keys, times = [], []
    for section, tables in (("sources", config.sources), ("attributes", config.attributes)):
        for name, table in tables.items():
            frame, key = frames[name], table.key or config.entity
            where = f"features.{section}.{name}"
            require(frame, key, f"{where}.key")
            keys.append((where, key, id_family(frame.schema[key].dataType)))
            for time in _times(table):
                require(frame, time, where)
                times.append((where, time, frame.schema[time].dataType, table.time_zone))
    _same(keys, "the key", "owners would not meet; cast one of them where the table is made")
    zoned = [
        (where, time, found.simpleString())
        for where, time, found, zone in times
        if isinstance(found, (T.TimestampType, T.TimestampNTZType)) and zone is None
    ]
    _same(zoned, "the time", "time zones are mixed; say with time_zone in which zone the times without one are")


def in_days(frame: DataFrame, source: Source, days: Iterable[object]) -> DataFrame:
    """Keep the events that became known on one of the days; ``frame`` comes from :func:`as_events`.

    Dates and timestamps are also compared as they are stored, within a day's margin for time zones, so that files and
    row groups of other days are skipped.
    """
    wanted = sorted(str(day) for day in days)
    kept = frame.filter(F.col(KNOWN).isin([F.to_date(F.lit(day)) for day in wanted]))
    low = F.date_sub(F.to_date(F.lit(wanted[0])), 1)
    high = F.date_add(F.to_date(F.lit(wanted[-1])), 2)
    times = [F.col(quoted(time)) for time in _times(source)]
    stored = (T.DateType, T.TimestampType, T.TimestampNTZType)
    if not all(isinstance(frame.schema[time].dataType, stored) for time in _times(source)):
        return kept
    late = times[0] >= low
    for time in times:
        kept = kept.filter(time.isNull() | (time < high))
        late = late | (time >= low)
    return kept.filter(late)


def _times(table: Source | Attributes) -> list[str]:
    from remedi_spark.config.sources import Source

    first = table.event_time if isinstance(table, Source) else table.time
    return [time for time in (first, table.arrival_time) if time is not None]


def _same(found: list[tuple[str, str, str]], what: str, hint: str) -> None:
    for where, name, kind in found[1:]:
        if kind != found[0][2]:
            raise InputError(
                f"{where}: {what} {name!r} is of type {kind}, but {found[0][1]!r} of {found[0][0]} is of type"
                f" {found[0][2]}: {hint}"
            )
