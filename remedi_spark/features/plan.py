"""From declared groups and measures to features: the cells a day keeps, the readings a snapshot takes, the values."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from remedi_spark.config.measures import EVER, EVER_DAYS, OF_NUMBERS, RANKED, window_name
from remedi_spark.errors import InputError
from remedi_spark.features.aggregations import AGGREGATIONS, Partial, View
from remedi_spark.features.amounts import PARTS, SQUARE_PARTS
from remedi_spark.features.amounts import part as part_name
from remedi_spark.features.dictionary import Entry
from remedi_spark.features.expressions import expression_type, numeric, slug, word
from remedi_spark.features.phrases import aggregated

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
    """One number that is kept for every owner and day."""

    group: ResolvedGroup
    partial: Partial
    of: str | None
    keep: int | None = None
    """Values that a list keeps of a day."""

    @property
    def name(self) -> str:
        """Column of the cell in the daily table."""
        kept = self.partial + ("" if self.keep is None else f"_{self.keep}")
        if self.of is None:
            return f"{word(self.group.name)}__{kept}"
        # Different expressions may have the same slug.
        plain = re.fullmatch(r"[a-z][a-z0-9_]*", self.of)
        mark = "" if plain else f"_{zlib.crc32(self.of.encode()):08x}"
        return f"{word(self.group.name)}__{kept}__{slug(self.of)}{mark}"

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


def plan_features(
    config: FeaturesConfig, groups: Iterable[ResolvedGroup], events: Mapping[str, DataFrame]
) -> tuple[Feature, ...]:
    """Return the features of all groups in their declared order.

    Raises InputError for an unknown column, and for arithmetic on something that is no number.
    """
    for key, declared in config.groups.items():
        for name, measure in declared.measures.items():
            _check(measure, events[declared.source], f"features.groups.{key}.measures.{name}")
            whole_source = config.groups[measure.within].source if measure.within else declared.source
            if whole_source != declared.source:
                raise InputError(
                    f"features.groups.{key}.measures.{name}.within: group {measure.within!r} has source"
                    f" {whole_source!r}, expected {declared.source!r}"
                )
    groups = tuple(groups)
    plain = {group.name: group for group in groups}
    return tuple(
        _feature(group, name, measure, windows, plain[measure.within] if measure.within else None, rank)
        for group in groups
        for name, measure in config.groups[group.declared].measures.items()
        for rank in range(1, (measure.k or 1) + 1)
        for windows in _windows(config, group, measure)
    )


def _check(measure: Measure, events: DataFrame, where: str) -> None:
    if measure.of is None:
        return
    if measure.aggregate in (*OF_NUMBERS, "share", "trend"):
        numeric(events, measure.of, f"{where}.of")
    else:
        expression_type(events, measure.of, f"{where}.of")


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
) -> Feature:
    aggregation = AGGREGATIONS[measure.aggregate]
    number = measure.at if measure.at is not None else 0.5 if measure.aggregate == "median" else float(rank)
    readings: list[Reading] = []

    def read(
        partial: Partial, view: View, window: int | None, *, whole: bool = False, part: str | None = None
    ) -> Column:
        keep = measure.k or 1 if partial in ("head", "tail", "top", "bottom") else None
        cell = Cell(hundred if whole and hundred else group, partial, measure.of, keep)
        reading = Reading(cell, view, window, number if view in NUMBERED else None)
        readings.append(reading)
        return F.col(reading.name if part is None else part_name(reading.name, part))

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
        window=None if EVER_DAYS in windows else " over ".join(f"{days} days" for days in windows) or None,
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
    return Feature(entry, value, tuple(dict.fromkeys(readings)))
