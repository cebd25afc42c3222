"""The raw events of a few owners, brought to the driver as plain Python."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F
from pyspark.sql import types as T

from remedi_spark.columns import OWNER
from remedi_spark.errors import InputError
from remedi_spark.features.by_hand import Event, label_group
from remedi_spark.features.expressions import as_sql
from remedi_spark.features.sources import DAY, KNOWN, MOMENT, UNTIL
from remedi_spark.spark.names import quoted

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from remedi_spark.features.blueprint import Blueprint

MOST = 2_000_000
"""Events that the driver may hold."""


def raw_events(blueprint: Blueprint, source: str, owners: Iterable[str]) -> dict[str, list[Event]]:
    """Return the events of a source by owner, with the groups that they belong to and the values that are aggregated.

    Raises InputError when the driver would have to hold too many.
    """
    config, frame = blueprint.config, blueprint.events[source]
    groups = {group.name: group.where for group in blueprint.lookups.groups if group.source == source}
    wanted = [
        measure.of
        for group in config.groups.values() if group.source == source
        for measure in group.measures.values()
    ]  # fmt: skip
    for label in blueprint.labels:
        if label.config.source == source:
            groups[label_group(label.column)] = label.events.where
            wanted.append(label.config.of)
    values = [of for of in dict.fromkeys(wanted) if of is not None]
    rows = frame.filter(F.col(OWNER).isin(list(owners))).select(
        OWNER, DAY, KNOWN, F.unix_micros(MOMENT), F.hour(MOMENT),
        *(F.coalesce(F.expr(where).cast("boolean"), F.lit(False)) for where in groups.values()),
        *(_plain(frame, of) for of in values),
    )  # fmt: skip
    held = rows.toDF(*(f"c{i}" for i in range(len(rows.columns)))).limit(MOST + 1).collect()
    if len(held) > MOST:
        raise InputError(f"verify: the sample has more than {MOST} events of {source}; give a smaller --sample")
    names, found = list(groups), dict[str, list[Event]]()
    for row in held:
        inside = frozenset(name for name, there in zip(names, row[5:], strict=False) if there)
        of = dict(zip(values, map(_number, row[5 + len(names) :]), strict=True))
        found.setdefault(row[0], []).append(Event(row[1], row[2], row[3], row[4], inside, of))
    return found


@dataclass(frozen=True)
class Fact:
    """One row of an attribute table; :attr:`order` is the larger, the later it holds."""

    day: dt.date
    known: dt.date
    until: dt.date | None
    order: tuple[Any, ...]
    values: tuple[Any, ...]


def raw_attributes(blueprint: Blueprint, name: str, owners: Iterable[str]) -> dict[str, list[Fact]]:
    """Return the rows of an attribute table by owner."""
    frame, declared = blueprint.attributes[name], blueprint.config.attributes[name]
    days = (DAY, KNOWN) if declared.time is not None else (F.lit(dt.date(1970, 1, 1)),) * 2
    until = F.lit(None).cast("date") if declared.until is None else F.col(UNTIL)
    columns = (F.col(quoted(column)) for column in declared.columns)
    rows = frame.filter(F.col(OWNER).isin(list(owners))).select(OWNER, *days, until, *columns)
    found: dict[str, list[Fact]] = {}
    for row in rows.toDF(*(f"c{i}" for i in range(len(rows.columns)))).collect():
        # As in SQL, null is the smallest of values that are otherwise alike.
        order = (row[1], row[2], row[3] or dt.date.max, *((value is not None, value or 0) for value in row[4:]))
        found.setdefault(row[0], []).append(Fact(row[1], row[2], row[3], order, tuple(row[4:])))
    return found


def _plain(frame: DataFrame, of: str) -> Any:
    value = F.expr(as_sql(frame, of))
    kind = frame.select(value).schema[0].dataType
    return value.cast("double") if isinstance(kind, T.NumericType | T.BooleanType) else value.cast("string")


def _number(value: Any) -> Any:
    """Return a value; None for what is no number or infinite, as the features have it."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
