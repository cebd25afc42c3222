"""Rows of a fit that are a table of this process: the same models without Spark, one worker each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from remedi_spark.columns import ROW_HASH
from remedi_spark.models.contract import ROW_WEIGHT, TARGET, Work
from remedi_spark.models.row_caps import Shares
from remedi_spark.spark.ran import Ran


@dataclass(frozen=True)
class TableExamples:
    """The :class:`~remedi_spark.models.contract.Examples` of a table."""

    table: pa.Table

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return list(self.table.column_names)

    def run(self, work: Work, columns: Sequence[str], workers: int) -> list[Ran]:
        """Run ``work`` here, torch on one thread as in a task: the order of its sums is the same.

        Raises:
            ValueError: several workers are asked for.
        """
        if workers != 1:
            raise ValueError(f"a fit on a table of this process: found {workers} workers, expected 1")
        rows = self.table.sort_by(ROW_HASH) if ROW_HASH in self.columns else self.table
        with _one_thread():
            return [Ran(work(rows.select(list(columns))), rows.num_rows)]

    def at_most(self, limit: int, *, rows: int, positives: int) -> TableExamples:
        """Return about ``limit`` of so many rows, the positives first, with weights that stand for all."""
        if rows <= limit:
            return self
        shares = Shares.of(limit, rare=positives, others=rows - positives)
        rare = self._target() > 0 if positives else np.zeros(self.table.num_rows, dtype=bool)
        share = np.where(rare, shares.rare, shares.others)
        weight = pa.array(self.table[ROW_WEIGHT].to_numpy() / share)
        taken = np.random.default_rng(0).random(len(share)) < share
        return TableExamples(self._replace(ROW_WEIGHT, weight).table.filter(pa.array(taken)))

    def with_target(self, column: str) -> TableExamples:
        """Return the rows with another column as the target."""
        return self._replace(TARGET, self.table[column])

    def above_zero(self) -> TableExamples:
        """Return the rows whose target is above 0."""
        return TableExamples(self.table.filter(pc.greater(self.table[TARGET], 0)))

    def whether_above_zero(self) -> TableExamples:
        """Return the rows with a target of 1 where it is above 0, else of 0."""
        return self._replace(TARGET, pa.array((self._target() > 0).astype(np.float64)))

    def _target(self) -> np.ndarray:
        return np.asarray(self.table[TARGET].to_numpy())

    def _replace(self, name: str, values: pa.Array) -> TableExamples:
        return TableExamples(self.table.set_column(self.columns.index(name), name, values))


@contextmanager
def _one_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
