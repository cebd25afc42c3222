"""Owner folds, even in positives, that do not depend on partitioning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as F

from remedi_spark.columns import FOLD, LABEL, OWNER
from remedi_spark.errors import InputError

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

BLOCK = "block"
"""Stratified number of an owner inside its fold; decides who validates (see :func:`inner_validation`)."""
MIN_POSITIVE_OWNERS = 4
"""Positive owners that a fold needs: fewer cannot train, stop and judge a model."""


def assign_folds(rows: DataFrame, folds: int, seed: int, above: float = 0.0) -> DataFrame:
    """Add ``fold`` (0 … folds-1) and ``block`` by owner.

    Positive owners (any row with a label above ``above``) are dealt round robin in the order of a hash, so that folds
    differ by at most one of them; all others go by their hash.
    """
    owners = rows.groupBy(OWNER).agg(F.max((F.col(LABEL) > above).cast("int")).alias("positive"))
    owners = owners.withColumn("hash", F.xxhash64(F.col(OWNER).cast("string"), F.lit(seed)))
    dealt = Window.partitionBy("positive").orderBy("hash", F.col(OWNER).cast("string"))
    positives = owners.where("positive = 1").withColumn("number", (F.row_number().over(dealt) - 1).cast("long"))
    others = owners.where("positive = 0").withColumn("number", F.pmod(F.col("hash"), F.lit(1_000_000_007)))
    numbered = positives.unionByName(others).select(
        OWNER,
        (F.col("number") % folds).cast("int").alias(FOLD),
        F.expr(f"cast(number div {folds} as int)").alias(BLOCK),
    )
    return rows.join(numbered, OWNER)


def inner_validation(fold: int, share: float) -> Column:
    """Tell whether a training row of the model that leaves ``fold`` out decides when to stop; by owner."""
    every = max(2, round(1 / share))
    return F.pmod(F.col(BLOCK) + F.lit(fold), F.lit(every)) == 0


def require_positives(positive_owners: int, folds: int, table: str, called: str = "positive owners") -> None:
    """Refuse folds with too few positives (``called`` so in the message).

    Raises:
        InputError: naming the number of folds that would work.
    """
    if positive_owners >= folds * MIN_POSITIVE_OWNERS:
        return
    fitting = positive_owners // MIN_POSITIVE_OWNERS
    fix = (
        f"use --set base_models.folds={fitting}"
        if fitting >= 2
        else f"at least {2 * MIN_POSITIVE_OWNERS} {called} are needed"
    )
    raise InputError(
        f"table {table}: {positive_owners} {called} to train on for {folds} folds, expected at least "
        f"{MIN_POSITIVE_OWNERS} in each; {fix}"
    )
