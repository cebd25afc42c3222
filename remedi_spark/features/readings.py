"""All readings of whole owners at once: Arrow rows in, one Arrow row for every owner and snapshot out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from remedi_spark.columns import OWNER, SNAPSHOT
from remedi_spark.errors import InputError
from remedi_spark.features.accumulate import (
    Bools,
    Ints,
    Rows,
    Values,
    extremes,
    first_of_each,
    fits,
    so_far,
    starts,
    totals,
)
from remedi_spark.features.aggregations import View
from remedi_spark.features.ordered import ORDERED
from remedi_spark.features.ordered_items import day_items, list_items, read_items
from remedi_spark.features.sources import DAY, KNOWN

STRETCHES = "__stretches"
"""On one row of an owner, in a list: what its distinct counts are read from; null on all other rows."""
CHUNK = 50_000
"""Rows that are worked on at once; more when one owner has more."""
DATES = ("last", "first", "newest", "oldest")
NUMBERS = ("largest", "smallest")
_NEVER = np.iinfo(np.int32).max


@dataclass(frozen=True)
class Want:
    """One reading: a column of the rows seen through a view; for ``distinct`` it is the number of its cell."""

    name: str
    column: str
    view: View
    window: int
    number: float = 0.0
    """For views that need one: which quantile, which place."""
    text: bool = False
    """Whether the values are text."""

    @property
    def type(self) -> pa.DataType:
        """Arrow type of the reading."""
        return (
            pa.string()
            if self.text
            else pa.date32()
            if self.view in DATES
            else pa.float64()
            if self.view in NUMBERS or self.view in ORDERED
            else pa.int64()
        )


@dataclass(frozen=True)
class Label:
    """The label's total: a day counts at the snapshots whose days (t + gap, t + gap + horizon] hold it."""

    columns: tuple[str, ...]
    """The total, or its parts."""
    names: tuple[str, ...]
    """What they are called in the table of snapshots."""
    gap: int
    horizon: int


@dataclass(frozen=True)
class Reader:
    """Reads all wanted columns at the snapshots ``days`` (ascending, as days since 1970)."""

    days: tuple[int, ...]
    wants: tuple[Want, ...]
    labels: tuple[Label, ...] = ()

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Read a partition whose rows are sorted by owner."""
        for rows in _whole_owners(batches):
            yield from self.read(rows).to_batches()

    def read(self, rows: pa.Table) -> pa.Table:
        """Return owner_id, snapshot_date and a column a reading, for all owners and snapshots that know of them."""
        chunk = _Chunk(rows, np.asarray(self.days))
        where = np.flatnonzero(chunk.seen)
        columns = {
            OWNER: chunk.names.take(pa.array(where // len(self.days))),
            SNAPSHOT: pa.array(chunk.days[where % len(self.days)].astype("int32")).cast(pa.date32()),
        }
        by_cell: dict[str, list[Want]] = {}
        for want in self.wants:
            by_cell.setdefault(want.column, []).append(want)
        found: dict[str, pa.Array] = {}
        for column, wants in by_cell.items():
            cell = _Values(chunk, int(column)) if wants[0].view == "distinct" else _Cell(chunk, column)
            found |= {w.name: cell.read(w).take(where, w.type) for w in wants if w.view not in ORDERED}
            ordered = [want for want in wants if want.view in ORDERED]
            if ordered and isinstance(cell, _Cell):
                found |= {name: one.take(where, pa.float64()) for name, one in cell.read_ordered(ordered).items()}
        columns |= {want.name: found[want.name] for want in self.wants}
        for label in self.labels:
            for name, column in zip(label.names, label.columns, strict=True):
                columns[name] = chunk.label(label, column).take(where, pa.int64())
        return pa.table(columns)


@dataclass(frozen=True)
class _Found:
    """A reading of all owners and snapshots, and where there is nothing (None: nowhere)."""

    values: Values
    nothing: Bools | None = None
    words: pa.Array | None = None
    """What whole numbers among the values mean, where they are text."""

    def take(self, where: Ints, kind: pa.DataType) -> pa.Array:
        mask = None if self.nothing is None else self.nothing.ravel()[where]
        values = self.values.ravel()[where]
        if self.words is not None:
            return self.words.take(pa.array(np.nan_to_num(values).astype("int64"), mask=mask))
        return (
            pa.array(values.astype("int32"), mask=mask).cast(kind)
            if pa.types.is_date(kind)
            else pa.array(values, kind, mask=mask)
        )


class _Chunk:
    """The rows of some whole owners, as numpy."""

    def __init__(self, rows: pa.Table, days: Ints) -> None:
        owners = rows[OWNER].combine_chunks().dictionary_encode()
        self.table, self.days, self.names = rows, days, owners.dictionary
        self.day, self.known = self.dates(DAY), self.dates(KNOWN)
        group = owners.indices.to_numpy().astype(np.int64)
        self.rows = Rows(group, self.first_from(self.known), len(self.names), len(days))

    @cached_property
    def seen(self) -> Bools:
        """Where anything of the owner was known by the snapshot, shape (owners, snapshots)."""
        first = np.full(self.rows.owners, len(self.days))
        np.minimum.at(first, self.rows.owner, self.rows.low)
        return np.asarray(np.arange(len(self.days)) >= first[:, None])

    def dates(self, name: str) -> Ints:
        """Return days since 1970; the far future for null."""
        return _dates(self.table[name].combine_chunks())

    @cached_property
    def stretches(self) -> dict[str, Ints]:
        """The stretches of all owners: ``owner``, ``cell``, ``known``, ``next`` and ``day``."""
        lists = self.table[STRETCHES].combine_chunks()
        inside = pc.list_flatten(lists)
        owner = self.rows.owner[pc.list_parent_indices(lists).to_numpy()]
        cell = inside.field("cell").to_numpy(zero_copy_only=False)
        return {"owner": owner, "cell": cell, **{name: _dates(inside.field(name)) for name in ("known", "next", "day")}}

    def first_from(self, day: Ints) -> Ints:
        """Return the number of the first snapshot on the day or later."""
        return np.searchsorted(self.days, day, side="left")

    def first_after(self, day: Ints) -> Ints:
        """Return the number of the first snapshot after the day."""
        return np.searchsorted(self.days, day, side="right")

    def label(self, label: Label, column: str) -> _Found:
        """Return the label's total; what arrived late counts too: the label is what happened, not what was known."""
        held = self.table[column].combine_chunks()
        some = np.flatnonzero(held.is_valid())
        day, values = self.day[some], held.drop_null().to_numpy(zero_copy_only=False)
        low = self.first_from(day - label.gap - label.horizon)
        rows = Rows(self.rows.owner[some], low, self.rows.owners, self.rows.snapshots)
        _require_room(rows, values, column)
        high = self.first_after(day - label.gap - 1)
        return _Found(totals(rows, starts(rows, values), high, values))


class _Cell:
    """One column of the daily partials: its rows that hold something."""

    def __init__(self, chunk: _Chunk, column: str) -> None:
        self.chunk, self.column = chunk, column
        held = chunk.table[column].combine_chunks()
        self.some, self.held = np.flatnonzero(held.is_valid()), held.drop_null()
        self.rows = chunk.rows.pick(self.some)
        self.day = chunk.day[self.some]
        self.ones = np.ones(len(self.some), dtype=np.int64)

    @cached_property
    def values(self) -> Values:
        return np.asarray(self.held.to_numpy(zero_copy_only=False))

    @cached_property
    def begun(self) -> Values:
        _require_room(self.rows, self.values, self.column)
        return starts(self.rows, self.values)

    @cached_property
    def begun_rows(self) -> Values:
        return starts(self.rows, self.ones)

    @cached_property
    def reports(self) -> Ints:
        """The row that reports a day first: a day of which more arrives later is one day."""
        return first_of_each(self.rows.owner, self.day, self.chunk.known[self.some])

    def read(self, want: Want) -> _Found:
        if want.view in ("last", "first"):
            return self._history(want)
        high = self.chunk.first_after(self.day + want.window - 1)
        if want.view == "total":
            return _Found(totals(self.rows, self.begun, high, self.values))
        if want.view == "days":
            rows, ones = self.rows.pick(self.reports), self.ones[self.reports]
            return _Found(totals(rows, starts(rows, ones), high[self.reports], ones))
        nothing = totals(self.rows, self.begun_rows, high, self.ones) == 0
        largest = want.view in ("newest", "largest")
        if want.view in ("newest", "oldest"):
            empty = np.asarray(-1 if largest else _NEVER, dtype=np.int64)
            return _Found(extremes(self.rows, high, self.day, largest=largest, nothing=empty), nothing)
        empty = np.asarray(-np.inf if largest else np.nan)
        return _Found(extremes(self.rows, high, self.values, largest=largest, nothing=empty), nothing)

    def read_ordered(self, wants: list[Want]) -> dict[str, _Found]:
        """Read what needs the items themselves, by name."""
        if pa.types.is_list(self.held.type):
            items = list_items(self.held, self.rows, self.day, backwards=wants[0].view == "item_back")
        else:
            items = day_items(self.rows.pick(self.reports), self.day[self.reports])
        found = read_items(items, wants, self.chunk.first_after)
        return {name: _Found(values, np.isnan(values), items.words) for name, values in found.items()}

    def _history(self, want: Want) -> _Found:
        largest = want.view == "last"
        empty = -_NEVER if largest else _NEVER
        older = older_column(self.column, want.view)
        rows, day = self.rows, self.day
        if older in self.chunk.table.column_names:
            held = np.flatnonzero(self.chunk.table[older].combine_chunks().is_valid())
            more = self.chunk.rows.pick(held)
            owner, low = np.append(rows.owner, more.owner), np.append(rows.low, more.low)
            rows = Rows(owner, low, rows.owners, rows.snapshots)
            day = np.append(day, self.chunk.dates(older)[held])
        found = so_far(rows, day, largest=largest, nothing=np.asarray(empty, dtype=np.int64))
        return _Found(found, found == empty)


class _Values:
    """The rows of one distinct count: stretches over which a value's last day stays the same."""

    def __init__(self, chunk: _Chunk, number: int) -> None:
        self.chunk = chunk
        all_cells = chunk.stretches
        some = np.flatnonzero(all_cells["cell"] == number)
        owner, known, self.next, self.day = (all_cells[name][some] for name in ("owner", "known", "next", "day"))
        self.rows = Rows(owner, chunk.first_from(known), chunk.rows.owners, chunk.rows.snapshots)
        self.ones = np.ones(len(some), dtype=np.int64)

    def read(self, want: Want) -> _Found:
        until = np.minimum(self.next - 1, self.day + want.window - 1)
        return _Found(totals(self.rows, starts(self.rows, self.ones), self.chunk.first_after(until), self.ones))


def _require_room(rows: Rows, values: Values, column: str) -> None:
    """Refuse totals that could pass 64 bits: numpy would go on below zero."""
    if not fits(rows, values):
        raise InputError(f"features: the total of {column} passes 64 bits; aggregate a larger unit of it")


def _dates(column: pa.Array) -> Ints:
    return np.asarray(column.cast(pa.int32()).fill_null(_NEVER).to_numpy(zero_copy_only=False)).astype(np.int64)


def older_column(column: str, view: str) -> str:
    """Return the column that holds a cell's last or first day of the history before all windows."""
    return f"__{view}__{column}"


def _whole_owners(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Put batches sorted by owner together to tables of whole owners."""
    kept: list[pa.RecordBatch] = []
    held = 0
    for batch in batches:
        kept.append(batch)
        held += batch.num_rows
        if held < CHUNK:
            continue
        rows = pa.Table.from_batches(kept)
        # More rows of the last owner may follow.
        whole = pc.index(rows[OWNER], rows[OWNER][-1]).as_py()
        if whole:
            yield rows.slice(0, whole)
            rest = rows.slice(whole).combine_chunks()
            kept, held = rest.to_batches(), rest.num_rows
    if held:
        yield pa.Table.from_batches(kept)
