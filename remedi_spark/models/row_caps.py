"""Fits on fewer rows than there are: all positives stay, and those that are taken stand for the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from remedi_spark.columns import LABEL, ROW_HASH, WEIGHT
from remedi_spark.spark.partitions import uniform

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def at_most(
    train: DataFrame, limit: int, *, rows: int, prior: float, binary: bool, label: str = LABEL
) -> DataFrame:  # fmt: skip
    """Return about ``limit`` of the rows, all positives among them, whose weights stand for all rows.

    Args:
        train: ``label``, ``weight`` and ``row_hash``.
        limit: rows at most, give or take chance; half as many beside the positives where these are more.
        rows: how many there are.
        prior: share of the rows with a label above 0.
        binary: whether labels are 0 or 1; of amounts all rows are sampled alike.
        label: column of the label.
    """
    if rows <= limit:
        return train
    always = min(prior * rows, rows - 1.0) if binary else 0.0
    # However many positives there are: some rows must stand for the others.
    share = min(1.0, max(limit - always, limit / 2) / (rows - always))
    rare = F.col(label) > 0 if binary else F.lit(False)
    weight = F.when(rare, F.col(WEIGHT)).otherwise(F.col(WEIGHT) / F.lit(share))
    return train.where(rare | (uniform(ROW_HASH, 0) < share)).withColumn(WEIGHT, weight)
