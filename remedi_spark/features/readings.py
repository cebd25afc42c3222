"""All readings of whole owners at once: Arrow rows in, one Arrow row for every owner and snapshot out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from remedi_spark.columns import OWNER, SNAPSHOT
from remedi_spark.features.ordered import ORDERED
from remedi_spark.features.owner_rows import Cell, Chunk, DistinctValues
from remedi_spark.features.wants import Label, Want

CHUNK = 50_000
"""Rows that are worked on at once; more when one owner has more."""


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
        chunk = Chunk(rows, np.asarray(self.days))
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
            cell = DistinctValues(chunk, int(column)) if wants[0].view == "distinct" else Cell(chunk, column)
            found |= {w.name: cell.read(w).take(where, w.type) for w in wants if w.view not in ORDERED}
            ordered = [want for want in wants if want.view in ORDERED]
            if ordered and isinstance(cell, Cell):
                found |= {name: one.take(where, pa.float64()) for name, one in cell.read_ordered(ordered).items()}
        columns |= {want.name: found[want.name] for want in self.wants}
        for label in self.labels:
            for name, column in zip(label.names, label.columns, strict=True):
                columns[name] = chunk.label(label, column).take(where, pa.int64())
        return pa.table(columns)


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
