"""Owner folds, even in positives, that do not depend on partitioning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as F

from remedi_spark.columns import FOLD, OWNER
from remedi_spark.errors import InputError

if TYPE_CHECKING:
    from pyspark.sql import Column

BLOCK = "block"
"""Stratified number of an owner inside its fold; decides who validates (see :func:`inner_validation`)."""
MIN_POSITIVE_OWNERS = 4
"""Positive owners that a fold needs: fewer cannot train, stop and judge a model."""


def deal(
    positive: str, folds: int, seed: int, names: tuple[str, str] = (FOLD, BLOCK), *, among: str | None = None
) -> list[Column]:
    """Return fold (0 … folds-1) and block of a frame with one row an owner.

    Positive owners are dealt round robin in the order of a hash, so that folds differ by at most one of them; all
    others go by their hash.

    Args:
        positive: boolean column.
        folds: number of folds.
        seed: of the order.
        names: of the two columns.
        among: boolean column; the other owners are dealt no fold. None: all are dealt one.
    """
    key = F.xxhash64(F.col(OWNER).cast("string"), F.lit(seed))
    # Only positives are brought to one task: any other owner is a partition of its own.
    apart = Window.partitionBy(F.when(~F.col(positive), key)).orderBy(key, F.col(OWNER).cast("string"))
    place = (F.row_number().over(apart) - 1).cast("long")
    number = F.when(F.col(positive), place).otherwise(F.pmod(key, F.lit(1_000_000_007)))
    dealt = number if among is None else F.when(F.col(among), number)
    fold, block = names
    return [(dealt % folds).cast("int").alias(fold), F.floor(dealt / folds).cast("int").alias(block)]


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
