"""The rows of some whole owners as numpy, and the readings of one cell at all their snapshots."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from remedi_spark.columns import OWNER
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
from remedi_spark.features.lists import single, single_at
from remedi_spark.features.ordered_items import Items, day_items, list_items, read_items
from remedi_spark.features.sources import DAY, KNOWN
from remedi_spark.features.wants import STRETCHES, Label, Want, older_column

LONGEST = 10_000
"""Values that an owner's day may have for exact quantiles."""
_NEVER = np.iinfo(np.int32).max


@dataclass(frozen=True)
class Found:
    """A reading of all owners and snapshots, and where there is nothing (None: nowhere)."""

    values: Values
    nothing: Bools | None = None
    words: pa.Array | None = None
    """What whole numbers among the values mean, where they are text."""

    def take(self, where: Ints, kind: pa.DataType) -> pa.Array:
        """Return the values at flat positions of (owners, snapshots), null where there is nothing."""
        mask = None if self.nothing is None else self.nothing.ravel()[where]
        values = self.values.ravel()[where]
        if self.words is not None:
            return self.words.take(pa.array(np.nan_to_num(values).astype("int64"), mask=mask))
        return (
            pa.array(values.astype("int32"), mask=mask).cast(kind)
            if pa.types.is_date(kind)
            else pa.array(values, kind, mask=mask)
        )


class Chunk:
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

    def label(self, label: Label, column: str) -> Found:
        """Return the label's total; what arrived late counts too: the label is what happened, not what was known."""
        held = self.table[column].combine_chunks()
        some = np.flatnonzero(held.is_valid())
        day, values = self.day[some], held.drop_null().to_numpy(zero_copy_only=False)
        low = self.first_from(day - label.gap - label.horizon)
        rows = Rows(self.rows.owner[some], low, self.rows.owners, self.rows.snapshots)
        _require_room(rows, values, column)
        high = self.first_after(day - label.gap - 1)
        return Found(totals(rows, starts(rows, values), high, values))


class Cell:
    """One column of the daily partials: its rows that hold something."""

    def __init__(self, chunk: Chunk, column: str) -> None:
        self.chunk, self.column = chunk, column
        held = chunk.table[column].combine_chunks()
        self.some, self.held = np.flatnonzero(held.is_valid()), held.drop_null()
        self.rows = chunk.rows.pick(self.some)
        self.day = chunk.day[self.some]
        self.ones = np.ones(len(self.some), dtype=np.int64)

    @cached_property
    def values(self) -> Values:
        """What the rows hold, shape (rows,)."""
        return np.asarray(self.held.to_numpy(zero_copy_only=False))

    @cached_property
    def begun(self) -> Values:
        """The values that begin to count at each snapshot (:func:`starts`)."""
        _require_room(self.rows, self.values, self.column)
        return starts(self.rows, self.values)

    @cached_property
    def begun_rows(self) -> Values:
        """How many rows begin to count at each snapshot."""
        return starts(self.rows, self.ones)

    @cached_property
    def reports(self) -> Ints:
        """The row that reports a day first: a day of which more arrives later is one day."""
        return first_of_each(self.rows.owner, self.day, self.chunk.known[self.some])

    def read(self, want: Want) -> Found:
        """Return a reading that needs no order among the rows."""
        if want.view in ("last", "first"):
            return self._history(want)
        high = self.chunk.first_after(self.day + want.window - 1)
        if want.view == "total":
            return Found(totals(self.rows, self.begun, high, self.values))
        if want.view == "days":
            rows, ones = self.rows.pick(self.reports), self.ones[self.reports]
            return Found(totals(rows, starts(rows, ones), high[self.reports], ones))
        nothing = totals(self.rows, self.begun_rows, high, self.ones) == 0
        largest = want.view in ("newest", "largest")
        if want.view in ("newest", "oldest"):
            empty = np.asarray(-1 if largest else _NEVER, dtype=np.int64)
            return Found(extremes(self.rows, high, self.day, largest=largest, nothing=empty), nothing)
        empty = np.asarray(-np.inf if largest else np.nan)
        return Found(extremes(self.rows, high, self.values, largest=largest, nothing=empty), nothing)

    def read_ordered(self, wants: list[Want]) -> dict[str, Found]:
        """Read what needs the items themselves, by name."""
        if pa.types.is_list(self.held.type):
            items = self._listed(backwards=wants[0].view == "item_back")
            if wants[0].view in ("percentile", "skew"):
                _require_short(items, wants[0].of)
        else:
            items = day_items(self.rows.pick(self.reports), self.day[self.reports])
        found = read_items(items, wants, self.chunk.first_after)
        return {name: Found(values, np.isnan(values), items.words) for name, values in found.items()}

    def _listed(self, *, backwards: bool) -> Items:
        lists, alone = (self.chunk.table[name].combine_chunks() for name in (self.column, single(self.column)))
        at = single_at(self.column)
        moments = self.chunk.table[at].combine_chunks() if at in self.chunk.table.column_names else None
        return list_items(lists, alone, moments, self.chunk.rows, self.chunk.day, backwards=backwards)

    def _history(self, want: Want) -> Found:
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
        return Found(found, found == empty)


class DistinctValues:
    """The rows of one distinct count: stretches over which a value's last day stays the same."""

    def __init__(self, chunk: Chunk, number: int) -> None:
        self.chunk = chunk
        all_cells = chunk.stretches
        some = np.flatnonzero(all_cells["cell"] == number)
        owner, known, self.next, self.day = (all_cells[name][some] for name in ("owner", "known", "next", "day"))
        self.rows = Rows(owner, chunk.first_from(known), chunk.rows.owners, chunk.rows.snapshots)
        self.ones = np.ones(len(some), dtype=np.int64)

    def read(self, want: Want) -> Found:
        """Return how many values' last day is inside the window."""
        until = np.minimum(self.next - 1, self.day + want.window - 1)
        return Found(totals(self.rows, starts(self.rows, self.ones), self.chunk.first_after(until), self.ones))


def _require_room(rows: Rows, values: Values, column: str) -> None:
    """Refuse totals that could pass 64 bits: numpy would go on below zero."""
    if not fits(rows, values):
        raise InputError(f"features: the total of {column} passes 64 bits; aggregate a larger unit of it")


def _dates(column: pa.Array) -> Ints:
    return np.asarray(column.cast(pa.int32()).fill_null(_NEVER).to_numpy(zero_copy_only=False)).astype(np.int64)


def _require_short(items: Items, of: str) -> None:
    """Refuse what is kept exactly where it does not end."""
    order = np.lexsort((items.day, items.rows.owner))
    owner, day = items.rows.owner[order], items.day[order]
    if np.any((owner[LONGEST:] == owner[:-LONGEST]) & (day[LONGEST:] == day[:-LONGEST])):
        raise InputError(
            f"features: the number of values of {of} on one day of an owner passes {LONGEST}, more than is kept"
            " exactly; use approx_percentile instead"
        )
