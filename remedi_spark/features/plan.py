"""From declared groups and measures to features: the cells a day keeps, the readings a snapshot takes, the values."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from remedi_spark.config.features import EVER
from remedi_spark.errors import InputError
from remedi_spark.features.aggregations import AGGREGATIONS, Partial, View
from remedi_spark.features.amounts import PARTS, SQUARE_PARTS
from remedi_spark.features.amounts import part as part_name
from remedi_spark.features.dictionary import Entry
from remedi_spark.features.expressions import expression_type, numeric, slug, word
from remedi_spark.features.phrases import aggregated

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from remedi_spark.config.features import FeaturesConfig, Measure
    from remedi_spark.features.levels import ResolvedGroup

NUMERIC_PARTIALS = ("sum", "squares", "max", "min")


@dataclass(frozen=True)
class Cell:
    """One number that is kept for every owner and day."""

    group: ResolvedGroup
    partial: Partial
    of: str | None

    @property
    def name(self) -> str:
        """Column of the cell in the daily table."""
        if self.of is None:
            return f"{word(self.group.name)}__{self.partial}"
        # Different expressions may have the same slug.
        plain = re.fullmatch(r"[a-z][a-z0-9_]*", self.of)
        mark = "" if plain else f"_{zlib.crc32(self.of.encode()):08x}"
        return f"{word(self.group.name)}__{self.partial}__{slug(self.of)}{mark}"

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

    @property
    def name(self) -> str:
        """Column of the reading in the table of snapshots."""
        return f"{self.cell.name}__{self.view}" + ("" if self.window is None else f"__{self.window}")


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
        _feature(group, name, measure, windows, plain[measure.within] if measure.within else None)
        for group in groups
        for name, measure in config.groups[group.declared].measures.items()
        for windows in _windows(config, group, measure)
    )


def _check(measure: Measure, events: DataFrame, where: str) -> None:
    if measure.of is None:
        return
    if measure.aggregate in ("count", "distinct", *EVER, "active_days", "gap_mean"):
        expression_type(events, measure.of, f"{where}.of")
    else:
        numeric(events, measure.of, f"{where}.of")


def _windows(config: FeaturesConfig, group: ResolvedGroup, measure: Measure) -> Iterator[tuple[int, ...]]:
    if measure.aggregate in EVER:
        yield ()
    elif measure.aggregate == "trend":
        yield tuple(measure.windows or ())
    else:
        for window in measure.windows or config.groups[group.declared].windows or config.windows:
            yield (window,)


def _feature(
    group: ResolvedGroup, name: str, measure: Measure, windows: tuple[int, ...], hundred: ResolvedGroup | None
) -> Feature:
    aggregation = AGGREGATIONS[measure.aggregate]
    readings: list[Reading] = []

    def read(
        partial: Partial, view: View, window: int | None, *, whole: bool = False, part: str | None = None
    ) -> Column:
        reading = Reading(Cell(hundred if whole and hundred else group, partial, measure.of), view, window)
        readings.append(reading)
        return F.col(reading.name if part is None else part_name(reading.name, part))

    value = aggregation.value(read, windows, measure.of is not None)
    words = {
        "of": measure.of or "",
        "events": group.meaning,
        "total": f"sum of {measure.of}" if measure.of else "number",
        "whole": hundred.meaning if hundred else "",
    }
    entry = Entry(
        name="_".join(filter(None, [group.name, name, "_over_".join(f"{window}d" for window in windows)])),
        meaning=aggregation.meaning.format(**words),
        source=group.source,
        window=" over ".join(f"{window} days" for window in windows) or None,
        unit=aggregation.unit.format(**words),
        null_meaning=aggregation.null.format(**words),
        said=aggregated(
            measure.aggregate,
            (group.one, group.many),
            measure.called or measure.of,
            windows,
            hundred.many if hundred else "",
        ),
    )
    return Feature(entry, value, tuple(dict.fromkeys(readings)))
