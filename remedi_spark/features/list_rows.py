"""Lists of a day's values, made in one vectorised pass over record batches: numpy and Arrow, no Python per row.

An owner's day may get several rows, one from each part of the events that was read at once. Nothing is lost by that:
whoever reads the lists puts those of all days of a window together and sorts them, so that the result depends on their
content alone. In return no event has to be moved, and Spark need not aggregate lists, which it does by objects.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from remedi_spark.columns import OWNER
from remedi_spark.features.accumulate import Ints, Values
from remedi_spark.features.sources import DAY, KNOWN

AT = "at"
"""Column of the events' moments, in microseconds."""
TOGETHER = 200_000
"""Events that are put together at once."""


@dataclass(frozen=True)
class ListColumn:
    """One list: of which values, in which order, and how many at most."""

    name: str
    values: str
    """Column of the values; null where the event has none."""
    backwards: bool = False
    dated: bool = False
    """Whether the order is that of the moments, which are kept with the values."""
    counted: bool = False
    """Whether a value is kept once, with how often it occurs."""
    once: bool = False
    """Whether a value is kept once."""
    keep: int | None = None


@dataclass(frozen=True)
class ListMaker:
    """Makes rows of owner, day, known and lists from events with values."""

    columns: tuple[ListColumn, ...]

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Make the rows of a partition."""
        held: list[pa.RecordBatch] = []
        for batch in batches:
            held.append(batch)
            if sum(one.num_rows for one in held) >= TOGETHER:
                yield from self.make(pa.Table.from_batches(held)).to_batches()
                held = []
        if held:
            yield from self.make(pa.Table.from_batches(held)).to_batches()

    def make(self, events: pa.Table) -> pa.Table:
        """Return a row for each owner, day and known day with any value; a list is null where there is none."""
        events = events.combine_chunks()
        first, group = _groups(events)
        rows = events.select([OWNER, DAY, KNOWN]).take(pa.array(first))
        for column in self.columns:
            rows = rows.append_column(column.name, _lists(column, events, group, len(first)))
        held = [pc.is_valid(rows[column.name]) for column in self.columns]
        some = held[0]
        for one in held[1:]:
            some = pc.or_(some, one)
        return rows.filter(some)


def _groups(events: pa.Table) -> tuple[Ints, Ints]:
    """Return the first row of each owner, day and known day, and the number of the group of each row."""
    owner = pc.dictionary_encode(events[OWNER]).combine_chunks().indices.to_numpy().astype(np.int64)
    day, known = (events[name].cast(pa.int32()).to_numpy().astype(np.int64) for name in (DAY, KNOWN))
    order = np.lexsort((known, day, owner))
    new = np.ones(len(order), dtype=bool)
    new[1:] = np.any([np.diff(one[order]) != 0 for one in (owner, day, known)], axis=0)
    group = np.empty(len(order), dtype=np.int64)
    group[order] = np.cumsum(new) - 1
    return order[new], group


def _lists(column: ListColumn, events: pa.Table, group: Ints, groups: int) -> pa.Array:
    held = events[column.values].combine_chunks()
    some = np.flatnonzero(held.is_valid())
    held, group = held.drop_null(), group[some]
    keys = [_sortable(held)]
    at = events[AT].combine_chunks().take(pa.array(some)) if column.dated else None
    if at is not None:
        keys.append(at.to_numpy())
    order = np.lexsort((*(-key if column.backwards else key for key in keys), group))
    group = group[order]
    first = np.ones(len(group), dtype=bool)
    if column.once or column.counted:
        value = keys[0][order]
        first[1:] = (np.diff(group) != 0) | (value[1:] != value[:-1])
    chosen = np.flatnonzero(first)
    counts = np.diff(np.append(chosen, len(group)))
    if column.keep is not None:
        owned = group[chosen]
        place = np.arange(len(chosen)) - np.searchsorted(owned, owned)
        chosen = chosen[place < column.keep]
    values = held.take(pa.array(order[chosen]))
    if at is not None:
        values = pa.StructArray.from_arrays([at.take(pa.array(order[chosen])), values], ["at", "value"])
    elif column.counted:
        values = pa.StructArray.from_arrays([values, pa.array(counts.astype("int32"))], ["value", "n"])
    sizes = np.bincount(group[chosen], minlength=groups)
    ends = np.concatenate([[0], np.cumsum(sizes)]).astype("int32")
    return pa.ListArray.from_arrays(pa.array(ends), values, mask=pa.array(sizes == 0))


def _sortable(values: pa.Array) -> Values:
    """Return numbers as they are, and in the place of texts numbers in their order."""
    if not pa.types.is_string(values.type):
        return np.asarray(values.to_numpy(zero_copy_only=False))
    return np.asarray(pc.rank(values, tiebreaker="dense").to_numpy()).astype(np.int64)
