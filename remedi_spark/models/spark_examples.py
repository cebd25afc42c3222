"""Rows of a fit that are a Spark frame: what learners run, runs in its tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from remedi_spark.models.contract import TARGET, Work
from remedi_spark.models.row_draws import at_most
from remedi_spark.spark.partitions import in_one_task, shape
from remedi_spark.spark.ran import Ran
from remedi_spark.spark.torch_partitions import run_counted

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


@dataclass(frozen=True)
class SparkExamples:
    """The :class:`~remedi_spark.models.contract.Examples` of a frame."""

    frame: DataFrame
    at_hand: bool = False
    """Whether they are those of a table, with other columns at most: one task then reads them itself, unshuffled."""

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return self.frame.columns

    def run(self, work: Work, columns: Sequence[str], workers: int) -> list[Ran]:
        """Run ``work`` in one task, or in several at once as a group of ``torch.distributed``."""
        alone = self.at_hand and workers == 1
        rows = in_one_task(self.frame) if alone else shape(self.frame, workers)
        return run_counted(rows.select(*columns), work, workers)

    def at_most(self, limit: int, *, rows: int, positives: int) -> SparkExamples:
        """Return about ``limit`` of so many rows; see :func:`remedi_spark.models.row_draws.at_most`."""
        return replace(self, frame=at_most(self.frame, limit, rows=rows, positives=positives, label=TARGET))

    def with_target(self, column: str) -> SparkExamples:
        """Return the rows with another column as the target."""
        return replace(self, frame=self.frame.withColumn(TARGET, F.col(column)))

    def above_zero(self) -> SparkExamples:
        """Return the rows whose target is above 0."""
        return replace(self, frame=self.frame.where(F.col(TARGET) > 0))

    def whether_above_zero(self) -> SparkExamples:
        """Return the rows with a target of 1 where it is above 0, else of 0."""
        return replace(self, frame=self.frame.withColumn(TARGET, (F.col(TARGET) > 0).cast("double")))


def frame_of(examples: object, what: str) -> DataFrame:
    """Return the frame of rows that a library is to fit on Spark.

    Raises:
        ValueError: they are in no frame; ``what`` names what needs one.
    """
    if not isinstance(examples, SparkExamples):
        raise ValueError(f"{what} needs a Spark frame, found {type(examples).__name__}")
    return examples.frame
