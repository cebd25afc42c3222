"""From daily partials to snapshots: windows (t − W, t] over what was known at t.

The rows of an owner are sent to one partition once, sorted by owner, and all readings of all its snapshots are taken
from them in one vectorised pass (``readings.py``). Nothing is repeated for the snapshots that it matters for: the cost
grows with the owners' days plus the rows of the result, not with days times snapshots.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

import pyarrow as pa
from pyspark.sql import functions as F

from remedi_spark.columns import OWNER, SNAPSHOT
from remedi_spark.features.amounts import PARTS, SQUARE_PARTS, combined, part
from remedi_spark.features.distinct import stretches
from remedi_spark.features.lists import LISTS, stored_columns
from remedi_spark.features.past import Past, in_short, out_of_reach
from remedi_spark.features.readings import Reader
from remedi_spark.features.sources import DAY, KNOWN
from remedi_spark.features.wants import Label, Want

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from remedi_spark.features.plan import Cell, Reading
    from remedi_spark.features.snapshots import Grid

EPOCH = dt.date(1970, 1, 1)
_SQL_TYPES = {pa.string(): "string", pa.date32(): "date", pa.float64(): "double", pa.int64(): "bigint"}


@dataclass(frozen=True)
class Partials:
    """What is kept of one source: a row an owner and day, and, for distinct counts, a row an owner and value."""

    days: DataFrame
    values: DataFrame | None = None
    by_owner: bool = False
    """Whether all rows of an owner are in one partition."""
    past: Past | None = None
    """The part of ``days`` that has been added up before, as far as few snapshots are read."""


def read_snapshots(
    partials: Mapping[str, Partials], readings: Iterable[Reading], grid: Grid, labels: Sequence[Label] = ()
) -> DataFrame:
    """Return one row for every snapshot and every owner of whom anything was known by then.

    Args:
        partials: The partials of each source.
        readings: What to read; one column each.
        labels: The totals of labels, to be read too.
    """
    readings = tuple(readings)
    rows = [
        rows_of
        for source, kept in partials.items()
        for rows_of in _rows(kept, _of_source(readings, source), grid, labels)
    ]
    union = reduce(lambda left, right: left.unionByName(right, allowMissingColumns=True), rows)
    wants = tuple(want for reading in readings for want in _wants(reading))
    reader = Reader(tuple((day - EPOCH).days for day in grid.days), wants, tuple(labels))
    columns = {want.name: _SQL_TYPES[want.type] for want in wants}
    columns |= {name: "bigint" for label in labels for name in label.names}
    schema = ", ".join([f"{OWNER} string", f"{SNAPSHOT} date", *(f"`{name}` {kind}" for name, kind in columns.items())])
    placed = len(rows) == 1 and all(kept.by_owner for kept in partials.values())
    sent = (union if placed else union.repartition(OWNER)).sortWithinPartitions(OWNER)
    found = sent.mapInArrow(reader, schema)  # type: ignore[arg-type]
    together = {
        reading.name: combined(*(F.col(part(reading.name, which)) for which in PARTS))
        for reading in readings
        if reading.cell.partial == "sum"
    }
    return found.withColumns(together) if together else found


def _of_source(readings: tuple[Reading, ...], source: str) -> tuple[Reading, ...]:
    return tuple(reading for reading in readings if reading.cell.source == source)


def _rows(kept: Partials, readings: tuple[Reading, ...], grid: Grid, labels: Sequence[Label]) -> list[DataFrame]:
    """Return the rows of a source: days, values and, where few snapshots are read, the older history in short."""
    plain = [reading for reading in readings if reading.view != "distinct"]
    cells = dict.fromkeys(reading.cell for reading in plain)
    totals = [name for name in dict.fromkeys(c for one in labels for c in one.columns) if name in kept.days.columns]
    columns = [column for cell in cells for column in _cell_columns(cell)]
    days = kept.days.select(OWNER, DAY, KNOWN, *columns, *totals)
    rows = [days]
    if grid.few:
        first = min(grid.days)
        unreached = out_of_reach(plain, first)
        past = kept.past if kept.past is not None and kept.past.through <= unreached else None
        told = F.lit(False) if past is None else F.col(KNOWN) <= F.lit(past.through)
        # As text: Spark reads no date of Python before the year 1000.
        old = (F.col(DAY) <= F.to_date(F.lit(unreached.isoformat()))) & (F.col(KNOWN) <= F.lit(first))
        short = in_short(kept.days.filter(old & ~told), plain, None if past is None else past.rows)
        rows = [days.filter(~old & ~told), short]
    counted = tuple(reading for reading in readings if reading.view == "distinct")
    if counted and kept.values is not None:
        rows.append(stretches(kept.values, counted, grid))
    return rows


def _cell_columns(cell: Cell) -> list[Column]:
    return [F.col(name) for name in (stored_columns(cell) if cell.partial in LISTS else cell.parts)]


def _wants(reading: Reading) -> list[Want]:
    window = reading.window or 0
    if reading.view == "distinct":
        return [Want(reading.name, str(reading.cell.number), reading.view, window)]
    parts = {"sum": PARTS, "squares": SQUARE_PARTS}.get(reading.cell.partial, ())
    if parts:
        names = (part(reading.name, which) for which in parts)
        return [
            Want(name, column, reading.view, window) for name, column in zip(names, reading.cell.parts, strict=True)
        ]
    cell = reading.cell
    return [Want(reading.name, cell.name, reading.view, window, reading.number or 0.0, cell.text, cell.of or "")]
