"""What ``{category}``, ``{parent}`` and ``each`` stand for in this data: groups resolved to plain SQL conditions."""

from __future__ import annotations

import datetime as dt
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from remedi_spark.errors import InputError, nearest
from remedi_spark.features.expressions import as_sql, column, numeric, require, slug, sql_literal
from remedi_spark.features.sources import DAY, KNOWN, MOMENT
from remedi_spark.spark.names import quoted

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from remedi_spark.config.features import FeaturesConfig, Group, LabelConfig

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
DAY_PARTS = ("night", "morning", "afternoon", "evening")
"""Six hours each, from midnight on."""


@dataclass(frozen=True)
class ResolvedGroup:
    """Events that are aggregated together, as a condition on one source."""

    name: str
    source: str
    where: str
    """SQL condition; ``true`` for all events."""
    declared: str
    """Key under ``features.groups``."""
    meaning: str
    """The events in words."""
    one: str = "event"
    """What a reason calls one of them."""
    many: str = "events"
    """What a reason calls several of them."""
    level: str | None = None
    """Level of the group's ``each``."""


@dataclass(frozen=True)
class LabelEvents:
    """The label's events as a condition on its source, and the values that groups may refer to."""

    where: str
    literals: Mapping[str, str]
    """``category`` and ``parent`` as SQL literals, as far as they are set."""
    settled: bool = True
    """Whether events that become known after the first snapshot can no longer change the literals."""


def resolve_label(
    label: LabelConfig, events: DataFrame, first_snapshot: dt.date, at: str = "features.label"
) -> LabelEvents:
    """Look the label's category and its parent up in the events.

    The parent is the most frequent one among events known at the first snapshot, as with the ``top`` levels of groups;
    where the category is not known yet, among all events.

    Raises InputError when no event has the category.
    """
    conditions = [] if label.filter is None else [f"({as_sql(events, label.filter)})"]
    literals: dict[str, str] = {}
    if label.column is not None and label.category is not None:
        require(events, label.column, f"{at}.column")
        literals["category"] = sql_literal(label.category)
        conditions.append(f"{quoted(label.column)} = {literals['category']}")
    where = " AND ".join(conditions) or "true"
    settled = True
    column(events, where, f"{at}.filter")
    if label.column is not None and label.category is not None:
        chosen = events.filter(where)
        early = _parent(label, chosen.filter(F.col(KNOWN) <= F.lit(first_snapshot)), at)
        parent = early or _parent(label, chosen, at)
        if parent is not None:
            literals["parent"] = sql_literal(parent)
        elif chosen.isEmpty():
            raise InputError(_unknown_category(label.column, label.category, events, at))
        settled = label.parent is None or early is not None
    return LabelEvents(where, literals, settled)


def resolve_groups(
    config: FeaturesConfig, events: Mapping[str, DataFrame], label: LabelEvents, first_snapshot: dt.date
) -> tuple[ResolvedGroup, ...]:
    """Return the groups in their order, with ``each`` taken apart into one group a level.

    The ``top`` levels are counted over events known at the first snapshot: later data never adds or drops a column.
    """
    resolved = [
        part
        for name, group in config.groups.items()
        for part in _resolve(name, group, events[group.source], label, first_snapshot)
    ]
    # Levels that differ only in case or signs (`A+`, `A-`) would have one name: each gets a mark of its own.
    repeated = repeated_names(resolved)
    resolved = [
        replace(group, name=f"{group.name}_{zlib.crc32(group.level.encode()):08x}")
        if group.level is not None and group.name.casefold() in repeated
        else group
        for group in resolved
    ]
    if repeated := repeated_names(resolved):
        raise InputError(f"features.groups: several groups or levels are named {sorted(repeated)}; rename a group")
    return tuple(resolved)


def repeated_names(groups: Iterable[ResolvedGroup]) -> set[str]:
    """Return the names, in small letters, that several groups have."""
    counted = Counter(group.name.casefold() for group in groups)
    return {name for name, count in counted.items() if count > 1}


def _resolve(
    name: str, group: Group, events: DataFrame, label: LabelEvents, first_snapshot: dt.date
) -> list[ResolvedGroup]:
    where = as_sql(events, _filled(group.where or "true", label.literals))
    column(events, where, f"features.groups.{name}.where")
    words = "all events" if where == "true" else f"events with {where}"
    if group.calendar is not None:
        return [_part_group(name, group, where, *part, label) for part in _calendar_parts(group.calendar)]
    if group.each is None:
        which = (f" of {group.source}" if group.source != "events" else "") if where == "true" else f" with {where}"
        return [ResolvedGroup(name, group.source, where, name, words, *_called(group, which, label.literals))]
    require(events, group.each, f"features.groups.{name}.each")
    if group.edges is not None:
        numeric(events, group.each, f"features.groups.{name}.each")
        return [_part_group(name, group, where, *part, label) for part in _ranges(group.each, group.edges)]
    levels = group.levels
    if levels is None:
        known = events.filter(F.col(KNOWN) <= F.lit(first_snapshot)).filter(where)
        levels = _top_levels(known, group.each, group.top or 0)
    return [_level_group(name, group, where, level, label) for level in levels]


def _level_group(name: str, group: Group, where: str, level: str, label: LabelEvents) -> ResolvedGroup:
    own = f"{quoted(group.each or '')} = {sql_literal(level)}"
    both = own if where == "true" else f"({where}) AND {own}"
    which = f" with {group.each} {level}"
    nouns = _called(group, which, {**label.literals, "level": level})
    return ResolvedGroup(f"{name}_{slug(level)}", group.source, both, name, f"events{which}", *nouns, level)


def _part_group(name: str, group: Group, where: str, part: str, own: str, label: LabelEvents) -> ResolvedGroup:
    """Return the group of one part of a number's range, of the day or of the week; ``own`` is its condition."""
    both = own if where == "true" else f"({where}) AND {own}"
    which = (
        f" with {group.each} {part}"
        if group.each
        else f" on a {part}"
        if group.calendar == "weekday"
        else (" at night" if part == "night" else f" in the {part}")
    )
    nouns = _called(group, which, {**label.literals, "level": part})
    return ResolvedGroup(f"{name}_{slug(part)}", group.source, both, name, f"events{which}", *nouns, part)


def _ranges(each: str, edges: list[float]) -> list[tuple[str, str]]:
    """Return the ranges between ascending limits, the lower one of which belongs to the range: words and condition."""
    value, ends = quoted(each), [f"{edge:g}" for edge in edges]
    inner = [(f"{a} to {b}", f"{value} >= {a} AND {value} < {b}") for a, b in pairwise(ends)]
    return [(f"below {ends[0]}", f"{value} < {ends[0]}"), *inner, (f"from {ends[-1]}", f"{value} >= {ends[-1]}")]


def _calendar_parts(calendar: str) -> list[tuple[str, str]]:
    if calendar == "weekday":
        return [(day, f"weekday({DAY}) = {number}") for number, day in enumerate(WEEKDAYS)]
    return [(part, f"hour({MOMENT}) >= {6 * i} AND hour({MOMENT}) < {6 * i + 6}") for i, part in enumerate(DAY_PARTS)]


def _called(group: Group, which: str, fillings: Mapping[str, str]) -> tuple[str, str]:
    """Return what one event of a group and several are called."""
    one, many = group.called or (f"event{which}", f"events{which}")
    return (one, many) if group.called is None else (_filled(one, fillings), _filled(many, fillings))


def _filled(text: str, fillings: Mapping[str, str]) -> str:
    """Fill the placeholders once: what is filled in may hold braces itself."""
    return re.sub(r"\{(\w+)\}", lambda found: fillings.get(found[1], found[0]), text)


def _top_levels(events: DataFrame, name: str, top: int) -> list[str]:
    level = F.col(quoted(name)).cast("string").alias("level")
    counted = events.select(level).filter("level IS NOT NULL").groupBy("level").count()
    # Ties by name: which levels are taken must not depend on how the rows are spread.
    return [row["level"] for row in counted.orderBy(F.desc("count"), "level").limit(top).collect()]


def _parent(label: LabelConfig, events: DataFrame, at: str) -> str | None:
    if label.parent is None:
        return None
    require(events, label.parent, f"{at}.parent")
    found = _top_levels(events, label.parent, 1)
    return found[0] if found else None


def _unknown_category(name: str, category: str, events: DataFrame, at: str) -> str:
    levels = events.select(F.col(quoted(name)).cast("string")).distinct().limit(10_000).collect()
    known = [row[0] for row in levels if row[0] is not None]
    same = [level for level in known if level.casefold() == category.casefold()]
    return (
        f"{at}.category: no event has {name} = {category!r}"
        f"{nearest(same[0] if same else category, known)} (known: {len(known)} categories)"
    )
