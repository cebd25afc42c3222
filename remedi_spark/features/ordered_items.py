"""The items that :mod:`remedi_spark.features.ordered` reads: days, or the elements of a day's lists, sorted once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from remedi_spark.features.accumulate import Ints, Rows, Values
from remedi_spark.features.ordered import ORDERED, Floats, Stretches

if TYPE_CHECKING:
    from remedi_spark.features.wants import Want


@dataclass(frozen=True)
class Items:
    """Items of owners, sorted by owner and then as their aggregates want them."""

    rows: Rows
    day: Ints
    values: Values
    weights: Ints
    words: pa.Array | None = None
    """The words that the values are numbers of, in their order."""

    def at(self, snapshot: int, high: Ints) -> Stretches:
        """Return what counts at a snapshot; an item counts until before ``high``."""
        some = np.flatnonzero((self.rows.low <= snapshot) & (snapshot < high))
        return Stretches(self.rows.owner[some], self.values[some], self.weights[some], self.rows.owners)


def sorted_items(rows: Rows, day: Ints, values: Values, weights: Ints, keys: tuple[Values, ...]) -> Items:
    """Sort items by owner and then by ``keys``, the most important one last (as ``numpy.lexsort``)."""
    order = np.lexsort((*keys, rows.owner))
    return Items(rows.pick(order), day[order], values[order], weights[order])


def day_items(rows: Rows, day: Ints) -> Items:
    """Return days as items."""
    return sorted_items(rows, day, day, np.ones(len(day), dtype=np.int64), (day,))


def list_items(
    lists: pa.Array, alone: pa.Array, alone_at: pa.Array | None, rows: Rows, day: Ints, *, backwards: bool
) -> Items:
    """Return the values of rows: the elements of lists, and values that are the only ones of their row.

    Lists have values, or structs of ``value`` with its ``at`` (as ``alone_at`` for the others) or its ``n``.
    """
    inside, parent = pc.list_flatten(lists), pc.list_parent_indices(lists).to_numpy()
    parts, words = {"value": inside}, None
    if pa.types.is_struct(inside.type):
        parts = {inside.type.field(i).name: inside.field(i) for i in range(inside.type.num_fields)}
    held = np.flatnonzero(alone.is_valid())
    parent = np.append(parent, held)
    parts["value"] = pa.concat_arrays([parts["value"], alone.drop_null()])
    if alone_at is not None:
        parts["at"] = pa.concat_arrays([parts["at"], alone_at.drop_null()])
    if pa.types.is_string(parts["value"].type):
        parts["value"], words = _numbered(parts["value"])
    columns = {name: _numpy(column) for name, column in parts.items()}
    weights = np.ones(len(parent), dtype=np.int64)
    if "n" in columns:
        weights[: len(columns["n"])] = columns["n"]
    keys = [columns[name] for name in ("value", "at") if name in columns]
    ordered = tuple(-key if backwards else key for key in keys)
    return replace(sorted_items(rows.pick(parent), day[parent], columns["value"], weights, ordered), words=words)


def read_items(items: Items, wants: Sequence[Want], first_after: Callable[[Ints], Ints]) -> dict[str, Floats]:
    """Return readings by name, shape (owners, snapshots): snapshot after snapshot, all that sees the same at once."""
    found = {want.name: np.full((items.rows.owners, items.rows.snapshots), np.nan) for want in wants}
    for window in {want.window for want in wants}:
        high = first_after(items.day + window - 1)
        own = [want for want in wants if want.window == window]
        for snapshot in range(items.rows.snapshots):
            seen = items.at(snapshot, high)
            for want in own:
                found[want.name][:, snapshot] = ORDERED[want.view](seen, want.number)
    return found


def _numbered(texts: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Return numbers in the place of texts, in the order of the texts, and the texts by number."""
    encoded = texts.dictionary_encode()
    order = pc.sort_indices(encoded.dictionary)
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order.to_numpy()] = np.arange(len(order))
    return pa.array(ranks[encoded.indices.to_numpy()]), encoded.dictionary.take(order)


def _numpy(column: pa.Array) -> Values:
    return np.asarray(column.to_numpy(zero_copy_only=False))
