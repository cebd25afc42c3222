"""A first draft of ``features`` from a log of events: what its columns look like, as a YAML that runs.

One pass counts every column; each line of the draft says in a comment what it was drawn from. It is meant to be edited.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql import types as T

from remedi_spark.errors import InputError, nearest
from remedi_spark.features.expressions import require
from remedi_spark.features.profile import Profile, is_id, profile
from remedi_spark.features.suggested_yaml import suggested_yaml
from remedi_spark.features.times import day_of
from remedi_spark.spark.names import quoted
from remedi_spark.storage.tables import read_table

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

OWNERS = (
    "owner", "customer", "household", "user", "client", "account", "member", "person", "subscriber", "visitor",
    "policy", "vehicle",
)  # fmt: skip
TIMES = ("time", "timestamp", "date", "datetime", "day", "at", "when")
ARRIVALS = ("arriv", "ingest", "received", "loaded", "created", "inserted")
PARENT_LEVELS = 2
"""A parent has at least so many levels."""


@dataclass(frozen=True)
class Label:
    """What the label is proposed from: ``column = category``, and the column that the category belongs to."""

    column: str
    category: str
    parent: str | None


def suggest(
    spark: SparkSession, events: str, entity: str | None = None, time: str | None = None, label: str | None = None
) -> str:
    """Return a configuration with sources, groups, windows and a label, as YAML with comments.

    Args:
        events: the log, a path or a catalog table.
        entity: column with the owner's id; None: looked for by its name.
        time: column that says when an event happened; None: looked for by name and type.
        label: ``column=value`` of the events to predict; None: any event.

    Raises:
        InputError: a column is not there, or none looks like an owner or a time.
    """
    frame = read_table(spark, events)
    entity = _named(frame, entity, "--entity") or _entity(frame, events)
    time = _named(frame, time, "--time") or _time(frame, events)
    arrival = next(
        (c for c in frame.columns if c not in (entity, time) and _like(c, ARRIVALS) and _dated(frame, c)), None
    )
    days = frame.withColumn("__day", day_of(frame, time, None, None, "--time"))
    found = profile(days, entity, time, [name for name in (entity, time, arrival) if name])
    return suggested_yaml(events, entity, time, arrival, found, _label(frame, label, found))


def _named(frame: DataFrame, name: str | None, option: str) -> str | None:
    if name is not None:
        require(frame, name, f"suggest {option}")
    return name


def _like(name: str, words: Iterable[str]) -> bool:
    parts = re.split(r"[^a-z]+", re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower())
    return any(part.startswith(word) if len(word) > 2 else part == word for part in parts for word in words)


def _dated(frame: DataFrame, name: str) -> bool:
    return isinstance(frame.schema[name].dataType, T.DateType | T.TimestampType | T.TimestampNTZType)


def _entity(frame: DataFrame, events: str) -> str:
    named = [name for name in frame.columns if _like(name, OWNERS)]
    best = [name for name in named if is_id(name)] or named
    if best:
        return best[0]
    raise InputError(
        f"suggest: no entity column in {events}: looked for a name with {', '.join(OWNERS)}; found"
        f" {', '.join(frame.columns[:20])}; name the owner's column with --entity"
    )


def _time(frame: DataFrame, events: str) -> str:
    typed = [name for name in frame.columns if _dated(frame, name) and not _like(name, ARRIVALS)]
    named = [name for name in frame.columns if _like(name, TIMES)]
    best = [name for name in typed if name in named] or typed or named
    if best:
        return best[0]
    raise InputError(
        f"suggest: no time column in {events}: looked for dates, timestamps, and names with {', '.join(TIMES)}; found"
        f" {', '.join(frame.columns[:20])}; name it with --time"
    )


def _label(frame: DataFrame, label: str | None, found: Profile) -> Label | None:
    if label is None:
        return None
    column, _, category = label.partition("=")
    if not category:
        raise InputError(f"suggest --label: found {label!r}, expected column=value, such as kind=purchase")
    require(frame, column, "suggest --label")
    chosen = frame.filter(F.col(quoted(column)).cast("string") == F.lit(category))
    others = [one.name for one in found.levels if one.name != column]
    tested = others or [column]
    row = chosen.agg(F.count("*"), *(F.count_distinct(quoted(name)) for name in tested)).collect()[0]
    if not row[0]:
        levels = [r[0] for r in frame.select(F.col(quoted(column)).cast("string")).distinct().limit(1_000).collect()]
        known = [level for level in levels if level is not None]
        raise InputError(f"suggest --label: no event has {column} = {category!r}{nearest(category, known)}")
    return Label(column, category, _parent(found, column, [n for n, c in zip(tested, row[1:], strict=True) if c == 1]))


def _parent(found: Profile, column: str, constant: Sequence[str]) -> str | None:
    """Return the column with most levels among those that hold one value for the whole category, and are coarser."""
    own = next((one.distinct for one in found.columns if one.name == column), 0)
    fits = [one for one in found.levels if one.name in constant and PARENT_LEVELS < one.distinct < own]
    return max(fits, key=lambda one: one.distinct).name if fits else None
