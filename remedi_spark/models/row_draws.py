"""The rows of a frame that a fit takes, drawn by a hash of their owner or key: partitions change nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from remedi_spark.columns import LABEL, OWNER, ROW_HASH, WEIGHT
from remedi_spark.models.row_caps import Shares
from remedi_spark.spark.partitions import uniform

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


def draw(
    shares: Shares, rows: DataFrame, rare: Column, seed: int, *, key: str = OWNER, label: str = LABEL
) -> DataFrame:
    """Return the rows that are taken, with weights that stand for all; all rows of an owner with the same luck.

    Args:
        shares: of the rows that are taken, by kind.
        rows: the label (null where unknown), ``weight`` and the key.
        rare: which rows are rare; null counts as not.
        seed: of the draw.
        key: column whose value decides, and nothing else: partitions change nothing.
        label: column of the label.
    """
    if shares.every:
        return rows
    share = _share(shares, rare, label)
    return rows.where(uniform(key, seed) < share).withColumn(WEIGHT, F.col(WEIGHT) / share)


def spare(shares: Shares, rows: DataFrame, rare: Column, seed: int) -> DataFrame:
    """Return labelled rows that :func:`draw` by owner leaves out, of owners of whom it takes none; weights as there.

    Args:
        shares: of the rows that are taken and of the spare ones.
        rows: the label and the owner.
        rare: whether the row's owner has a rare row; null counts as not.
        seed: that of the draw.
    """
    left = F.col(LABEL).isNotNull() & ~F.coalesce(rare, F.lit(False))
    place = uniform(OWNER, seed) - shares.others
    return rows.where(left & (place >= 0) & (place < shares.spare)).withColumn(WEIGHT, F.col(WEIGHT) / shares.others)


def as_drawn(shares: Shares, rare: Column) -> Column:
    """Return the weight that a row had before it was to stand for others."""
    return F.col(WEIGHT) if shares.every else F.col(WEIGHT) * _share(shares, rare, LABEL)


def _share(shares: Shares, rare: Column, label: str) -> Column:
    others = F.when(F.col(label).isNull(), F.lit(shares.unlabelled)).otherwise(F.lit(shares.others))
    return F.when(rare, F.lit(shares.rare)).otherwise(others)


def at_most(train: DataFrame, limit: int, *, rows: int, positives: int, label: str = LABEL) -> DataFrame:
    """Return about ``limit`` of the rows, all positives among them as far as they fill half of it.

    The weights of what is taken stand for all rows.

    Args:
        train: ``label``, ``weight`` and ``row_hash``.
        limit: rows at most, give or take chance.
        rows: how many there are.
        positives: how many of them have a label above 0; 0: all rows are sampled alike, as amounts are.
        label: column of the label.
    """
    if rows <= limit:
        return train
    shares = Shares.of(limit, rare=positives, others=rows - positives)
    rare = F.col(label) > 0 if positives else F.lit(False)
    return draw(shares, train, rare, 0, key=ROW_HASH, label=label)
