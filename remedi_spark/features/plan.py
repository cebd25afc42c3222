"""From declared groups and measures to features: the cells a day keeps, the readings a snapshot takes, the values."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql import types as T

from remedi_spark.config.measures import EVER, EVER_DAYS, OF_NUMBERS, OF_TEXT, RANKED, window_name, window_words
from remedi_spark.errors import InputError
from remedi_spark.features.aggregations import AGGREGATIONS, Partial, View
from remedi_spark.features.amounts import PARTS, SQUARE_PARTS, combined
from remedi_spark.features.amounts import part as part_name
from remedi_spark.features.dictionary import Entry
from remedi_spark.features.expressions import digest, expression_type, numeric, slug, word
from remedi_spark.features.phrases import aggregated
from remedi_spark.features.sources import DAY, MOMENT

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from remedi_spark.config.features import FeaturesConfig
    from remedi_spark.config.measures import Measure
    from remedi_spark.features.levels import ResolvedGroup

NUMERIC_PARTIALS = ("sum", "squares", "max", "min", "list", "sketch", "top", "bottom", "head", "tail")
NUMBERED = ("percentile", "weighted", "item", "item_back")
"""Views that need a number."""


@dataclass(frozen=True)
class Cell:
    """One number that is kept for every owner and day: groups that mean the same events share it."""

    source: str
    where: str
    """SQL condition of the events."""
    partial: Partial
    of: str | None
    keep: int | None = None
    """Values that a list keeps of a day."""
    text: bool = False
    """Whether the values are text."""

    @property
    def name(self) -> str:
        """Column of the cell in the daily table: one name means one definition, whatever configuration asks for it."""
        kept = self.partial + ("" if self.keep is None else f"_{self.keep}")
        events = f"{word(self.source)}_{slug(self.where)[:24]}_{digest([self.source, self.where], 10)}"
        if self.of is None:
            return f"{events}__{kept}"
        # Different expressions may have the same slug.
        plain = re.fullmatch(r"[a-z][a-z0-9_]*", self.of)
        mark = "" if plain else f"_{zlib.crc32(self.of.encode()):08x}"
        return f"{events}__{kept}__{slug(self.of)}{mark}"

    @property
    def number(self) -> int:
        """Number of the cell in the table of values."""
        return int(digest(self.name, 15), 16)

    @property
    def parts(self) -> tuple[str, ...]:
        """Columns that a snapshot adds up: the parts of a total, else the cell itself."""
        parts = {"sum": PARTS, "squares": SQUARE_PARTS}.get(self.partial)
        return (self.name,) if parts is None else tuple(part_name(self.name, which) for which in parts)


@dataclass(frozen=True)
class Reading:
    """A cell seen from a snapshot."""

    cell: Cell
    view: View
    window: int | None
    number: float | None = None
    """What the view needs to know: which quantile, or which place."""

    @property
    def name(self) -> str:
        """Column of the reading in the table of snapshots."""
        ends = [f"__{end}" for end in (self.number, self.window) if end is not None]
        return "".join([f"{self.cell.name}__{self.view}", *ends]).replace(".", "_")


@dataclass(frozen=True)
class Feature:
    """One feature: its dictionary entry, its value over the readings, and the readings."""

    entry: Entry
    value: Column = field(compare=False)
    readings: tuple[Reading, ...] = ()
    definition: str = ""
    """Features of equal definition have equal values, whatever they are called."""
    text: bool = False
    """Whether the values are text: a category."""


def in_hours(cell: Cell, view: View, hours: int, part: str | None) -> tuple[Column, list[Reading]]:
    """Return a view of the last hours to the end of the snapshot's day, and the readings that it is made from.

    It is that of the last whole days together with that of one more day's last hours, which are a cell of their own.
    """
    days, rest = divmod(hours, 24)
    whole = [Reading(cell, view, days)] if days else []
    if not rest:
        return _value_of(whole[0], part), whole
    late = replace(cell, where=f"({cell.where}) AND hour({MOMENT}) >= {24 - rest}")
    more = Reading(late, view, days + 1)
    if view not in ("total", "days"):
        both = [_value_of(reading, part) for reading in (*whole, more)]
        ends = F.greatest if view in ("largest", "newest") else F.least
        return (ends(*both) if whole else both[0]), [*whole, more]
    # What is counted of those hours on the whole days is in there already.
    twice = [Reading(late, view, days)] if days else []
    readings = [*whole, more, *twice]

    def added(which: str | None) -> Column:
        values = [F.coalesce(_value_of(reading, which), F.lit(0)) for reading in readings]
        return values[0] + values[1] - values[2] if days else values[0]

    if cell.partial == "sum" and part is None:
        return combined(*map(added, PARTS)), readings
    return added(part), readings


def _value_of(reading: Reading, part: str | None) -> Column:
    return F.col(reading.name if part is None else part_name(reading.name, part))


def plan_features(
    config: FeaturesConfig, groups: Iterable[ResolvedGroup], events: Mapping[str, DataFrame]
) -> tuple[Feature, ...]:
    """Return the features of all groups in their declared order.

    Raises InputError for an unknown column, and for arithmetic on something that is no number.
    """
    texts: set[tuple[str, str]] = set()
    for key, declared in config.groups.items():
        for name, measure in declared.measures.items():
            if _is_text(measure, events[declared.source], f"features.groups.{key}.measures.{name}"):
                texts.add((key, name))
            whole_source = config.groups[measure.within].source if measure.within else declared.source
            if whole_source != declared.source:
                raise InputError(
                    f"features.groups.{key}.measures.{name}.within: group {measure.within!r} has source"
                    f" {whole_source!r}, expected {declared.source!r}"
                )
    _require_times(config, events)
    groups = tuple(groups)
    plain = {group.name: group for group in groups}
    return tuple(
        _feature(
            group,
            name,
            measure,
            windows,
            plain[measure.within] if measure.within else None,
            rank,
            (group.declared, name) in texts,
        )
        for group in groups
        for name, measure in config.groups[group.declared].measures.items()
        for rank in range(1, (measure.k or 1) + 1)
        for windows in _windows(config, group, measure)
    )


def _require_times(config: FeaturesConfig, events: Mapping[str, DataFrame]) -> None:
    """Raise InputError where windows in hours look at a source whose events have no time of the day."""
    asking: dict[str, str] = {}
    for key, group in config.groups.items():
        for measure in group.measures.values():
            for window in measure.windows or group.windows or config.windows:
                if window < 0 and measure.aggregate not in EVER:
                    asking.setdefault(group.source, f"features.groups.{key}: window {window_name(window)}")
    for source, where in asking.items():
        time = config.sources[source].event_time
        kind = events[source].schema[time].dataType
        timed = isinstance(kind, T.TimestampType | T.TimestampNTZType)
        if not timed and events[source].filter(F.col(MOMENT) != F.col(DAY).cast("timestamp")).isEmpty():
            raise InputError(
                f"{where} needs times of the day, but event_time {time!r} of source {source!r} ({kind.simpleString()})"
                " has days only; give windows in days"
            )


def _is_text(measure: Measure, events: DataFrame, where: str) -> bool:
    """Whether a feature is text; raise InputError where what is aggregated is neither that nor as it has to be."""
    if measure.of is None:
        return False
    kind = expression_type(events, measure.of, f"{where}.of")
    if measure.aggregate in OF_TEXT and isinstance(kind, T.StringType):
        return True
    if measure.aggregate in (*OF_NUMBERS, "share", "trend"):
        numeric(events, measure.of, f"{where}.of")
    return False


def _windows(config: FeaturesConfig, group: ResolvedGroup, measure: Measure) -> Iterator[tuple[int, ...]]:
    if measure.aggregate in EVER:
        yield ()
    elif measure.aggregate == "trend":
        yield tuple(measure.windows or ())
    else:
        for window in measure.windows or config.groups[group.declared].windows or config.windows:
            yield (window,)


def _feature(
    group: ResolvedGroup,
    name: str,
    measure: Measure,
    windows: tuple[int, ...],
    hundred: ResolvedGroup | None,
    rank: int,
    text: bool,
) -> Feature:
    aggregation = AGGREGATIONS[measure.aggregate]
    number = measure.at if measure.at is not None else 0.5 if measure.aggregate == "median" else float(rank)
    readings: list[Reading] = []

    def read(
        partial: Partial, view: View, window: int | None, *, whole: bool = False, part: str | None = None
    ) -> Column:
        keep = measure.k or 1 if partial in ("head", "tail", "top", "bottom") else None
        where = hundred.where if whole and hundred else group.where
        cell = Cell(group.source, where, partial, measure.of, keep, text)
        if window is not None and window < 0:
            value, more = in_hours(cell, view, -window, part)
            readings.extend(more)
            return value
        reading = Reading(cell, view, window, number if view in NUMBERED else None)
        readings.append(reading)
        return _value_of(reading, part)

    value = aggregation.value(read, windows, measure.of is not None)
    words = {
        "of": measure.of or "",
        "events": group.meaning,
        "total": f"sum of {measure.of}" if measure.of else "number",
        "whole": hundred.meaning if hundred else "",
        "at": f"{measure.at or 0:g}",
        "rank": str(rank),
    }
    ends = ([str(rank)] if measure.aggregate in RANKED else []) + ["_over_".join(map(window_name, windows))]
    entry = Entry(
        name="_".join(filter(None, [group.name, name, *ends])),
        meaning=aggregation.meaning.format(**words),
        source=group.source,
        window=None if EVER_DAYS in windows else " over ".join(map(window_words, windows)) or None,
        unit=aggregation.unit.format(**words),
        null_meaning=aggregation.null.format(**words),
        said=aggregated(
            measure.aggregate,
            (group.one, group.many),
            measure.called or measure.of,
            windows,
            hundred.many if hundred else "",
            number,
        ),
    )
    whole_where = hundred.where if hundred else None
    asked = [measure.aggregate, measure.of, measure.at, windows, rank if measure.aggregate in RANKED else 1]
    definition = digest([group.source, group.where, whole_where, *asked])
    return Feature(entry, value, tuple(dict.fromkeys(readings)), definition, text)
