"""What is kept of each source's long past, so that a snapshot's day need not read years of partials again.

A table ``<source>_past`` holds a row an owner, and the state says through which day and at which version of the table
it does. A change that reaches further back, or a commit that the state does not know of, makes it void.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from remedi_spark.columns import OWNER
from remedi_spark.features.expressions import word
from remedi_spark.features.past import Past, ever_columns, in_short, out_of_reach
from remedi_spark.features.snapshots import END_OF_TIME
from remedi_spark.features.sources import KNOWN
from remedi_spark.spark.side_by_side import side_by_side

if TYPE_CHECKING:
    from remedi_spark.features.blueprint import Blueprint
    from remedi_spark.features.state import State, Touched
    from remedi_spark.features.windows import Partials
    from remedi_spark.storage.tables import Tables

BEHIND = 28
"""Days after which a past is brought up: it costs a commit, and saves reading the partials of so many days."""
Kept = Mapping[str, Any]
"""By source: the last day of the past, as ISO text, and the version of its table."""


def still_true(tables: Tables, state: State, touched: Touched) -> dict[str, Any]:
    """Return the pasts that no change reaches and whose tables are as the state knows them."""
    return {
        source: [through, version]
        for source, (through, version) in state.past.items()
        if through < min(touched.known.get(source, [END_OF_TIME]))
        and tables.exists(_name(source))
        and tables.version(_name(source)) == version
    }


def still_fits(tables: Tables, blueprint: Blueprint, kept: Kept) -> dict[str, Any]:
    """Return the pasts that hold what the features of a blueprint read of all time, and nothing else."""

    def fits(source: str) -> bool:
        wanted = ever_columns(reading for reading in blueprint.readings if reading.cell.source == source)
        return tables.exists(_name(source)) and set(tables.read(_name(source)).columns) == {OWNER, KNOWN, *wanted}

    return {source: past for source, past in kept.items() if fits(source)}


def with_past(tables: Tables, partials: Mapping[str, Partials], kept: Kept) -> dict[str, Partials]:
    """Return the partials with what is kept of their past."""
    return {
        source: replace(part, past=Past(tables.read(_name(source)), dt.date.fromisoformat(kept[source][0])))
        if source in kept
        else part
        for source, part in partials.items()
    }


def update_past(
    tables: Tables, blueprint: Blueprint, partials: Mapping[str, Partials], kept: Kept, snapshot: dt.date
) -> dict[str, Any]:
    """Write the pasts that are far behind what the windows of a snapshot do not reach; return what is kept then."""

    def one(source: str) -> Any:
        readings = [reading for reading in blueprint.readings if reading.cell.source == source]
        until = out_of_reach(readings, snapshot)
        through = dt.date.fromisoformat(kept[source][0]) if source in kept else None
        if (until - (through or blueprint.grid.start)).days < BEHIND:
            return kept.get(source)
        new = partials[source].days.filter(F.col(KNOWN) <= F.lit(until))
        before = None
        if through is not None:
            new, before = new.filter(F.col(KNOWN) > F.lit(through)), tables.read(_name(source))
        tables.overwrite(in_short(new, readings, before), _name(source))
        return [str(until), tables.version(_name(source))]

    sources = list(partials)
    found = zip(sources, side_by_side(one, sources), strict=True)
    return {source: past for source, past in found if past is not None}


def _name(source: str) -> str:
    return f"{word(source)}_past"
