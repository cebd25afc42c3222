"""The hold-out: which rows are test rows, that no stage is trained on and every model is measured on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql import types as t

from remedi_spark.columns import LABEL, OWNER, ROW_HASH, SNAPSHOT
from remedi_spark.config.chain import EvaluationConfig
from remedi_spark.errors import InputError
from remedi_spark.progress import warn
from remedi_spark.samples.folds import BLOCK, deal
from remedi_spark.spark.partitions import row_hash, uniform
from remedi_spark.spark.quantiles import quantiles

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_EARLIER = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
"""Shares of the rows that are held out where fewer of the latest hold no positive row."""
TRAIN, TEST, UNLABELLED, SPARE, DROPPED = "train", "test", "unlabelled", "spare", "dropped"
BUCKET = "bucket"
"""Of owners: those of bucket 0 are held out."""


@dataclass(frozen=True)
class Holdout:
    """How the test rows were chosen."""

    part: Column
    """Each row's part, over the columns of ``samples`` and :data:`BUCKET`."""
    description: str
    owners: DataFrame | None = None
    """Owner and :data:`BUCKET`, where owners are held out."""

    def with_buckets(self, rows: DataFrame) -> DataFrame:
        """Add :data:`BUCKET`, null where none is needed."""
        if self.owners is None:
            return rows.withColumn(BUCKET, F.lit(None).cast("int"))
        return rows.join(self.owners, OWNER, "left")


def choose_holdout(
    samples: DataFrame, config: EvaluationConfig, seed: int, above: float = 0.0, *, both: bool = False
) -> Holdout:
    """Choose the rows that no stage is trained on.

    With a time, the latest labelled rows are held out and training ends ``embargo_days`` before them; without (or with
    a single time), a share of the owners is, even in those with a label above ``above``. With ``both``, either part
    must hold labels above and not above that: where the latest rows do not, an earlier cut is taken, or the owners.

    Raises:
        InputError: ``both``, and ``test_from`` leaves a part without labels of both kinds.
    """
    labelled = samples.where(F.col(LABEL).isNotNull())
    by_time = _by_time(labelled, config, above if both else None)
    if by_time is not None:
        return Holdout(_labelled_or_not(by_time.part), by_time.description)
    shares = holdout_shares(config)
    owners = labelled.groupBy(OWNER).agg(F.max(F.col(LABEL) > above).alias("positive"))
    buckets = owners.select(OWNER, *deal("positive", shares, seed + 1, (BUCKET, BLOCK))).drop(BLOCK)
    part = F.when(F.col(BUCKET) == 0, F.lit(TEST)).otherwise(F.lit(TRAIN))
    described = f"one owner in {shares}, chosen by hash, that no stage was trained on"
    return Holdout(_labelled_or_not(part), described, buckets)


def at_most_tested(holdout: Holdout, samples: DataFrame, most: int, seed: int) -> Holdout:
    """Drop the test rows of some owners, chosen by hash, so that about ``most`` are left; rows are few: drop none.

    Every model of every fold scores every test row, which says little more of a model than a million of them do.
    """
    if samples.count() <= most:
        return holdout
    rows = holdout.with_buckets(samples.select(OWNER, SNAPSHOT, LABEL, "source"))
    found = rows.where(holdout.part == TEST).count()
    if found <= most:
        return holdout
    left = (holdout.part != TEST) | (uniform(OWNER, seed + 2) < most / found)
    part = F.when(left, holdout.part).otherwise(F.lit(DROPPED))
    return replace(
        holdout,
        part=part,
        description=f"{holdout.description}; of {found:,} rows about {most:,}, of owners chosen by hash",
    )


def holdout_shares(config: EvaluationConfig) -> int:
    """Return of how many owners one is held out where there is no time."""
    return max(2, round(1 / config.test_share))


def _labelled_or_not(part: Column) -> Column:
    return F.when(F.col(LABEL).isNull(), F.lit(UNLABELLED)).otherwise(part)


def _by_time(labelled: DataFrame, config: EvaluationConfig, above: float | None) -> Holdout | None:
    order = _order(labelled.schema[SNAPSHOT].dataType)
    if config.test_from is not None:
        if not labelled.where(F.col(SNAPSHOT).isNotNull()).head(1):
            raise InputError("evaluation.test_from: set, but the table has no time column; name it with --time")
        cut, shown = _days(F.lit(config.test_from)), str(config.test_from)
        if above is not None and not _usable(labelled, [_parted(labelled, cut, config)[0]], above)[0]:
            raise InputError(
                f"evaluation.test_from: the rows before {shown} or those from it on hold labels of one kind only;"
                " expected positive and other rows in both; give another day"
            )
    else:
        first = _first_test(labelled, order, config, above)
        if first is None:
            return None
        cut, shown = F.lit(first[0]), str(first[1])
    part, gap = _parted(labelled, cut, config)
    until = f", at least {gap} days after the last training row" if gap else ""
    return Holdout(part, f"rows from {shown} on{until}, that no stage was trained on")


def _parted(labelled: DataFrame, cut: Column, config: EvaluationConfig) -> tuple[Column, int]:
    """Return the part of each row when the test part begins at ``cut``, and the days between the parts."""
    data_type = labelled.schema[SNAPSHOT].dataType
    order = _order(data_type)
    gap = config.embargo_days if isinstance(data_type, t.DateType | t.TimestampType) else 0
    early = order < cut - gap if not gap else order <= cut - gap
    return F.when(order >= cut, F.lit(TEST)).when(early, F.lit(TRAIN)).otherwise(F.lit(DROPPED)), gap


def _first_test(
    labelled: DataFrame, order: Column, config: EvaluationConfig, above: float | None
) -> tuple[float, object] | None:
    """Return the earliest time of the test part (as a number, and as it stands), or None without two times."""
    timed = labelled.where(order.isNotNull())
    ordered = timed.select(order.alias("order"), SNAPSHOT, LABEL, row_hash().alias(ROW_HASH))
    rows, low, high = ordered.agg(F.count("*"), F.min("order"), F.max("order")).collect()[0]
    if low == high:
        return None
    shares = [config.test_share, *(share for share in _EARLIER if share > config.test_share)]
    [quantile] = quantiles(ordered, ["order"], [1 - share for share in shares], rows)
    late = [F.col("order") >= cut if cut > low else F.col("order") > low for cut in quantile]
    found = ordered.agg(
        *[F.min(F.when(one, F.col("order"))).alias(f"first{i}") for i, one in enumerate(late)],
        *[F.min(F.when(one, F.col(SNAPSHOT))).alias(f"shown{i}") for i, one in enumerate(late)],
    ).collect()[0]
    firsts = [(float(found[f"first{i}"]), found[f"shown{i}"]) for i in range(len(late))]
    if above is None:
        return firsts[0]
    usable = _usable(timed, [_parted(timed, F.lit(first), config)[0] for first, _ in firsts], above)
    chosen = next((first for first, good in zip(firsts, usable, strict=True) if good), None)
    if chosen != firsts[0]:
        instead = "owners are held out by hash" if chosen is None else f"the test part begins at {chosen[1]}"
        warn(
            "base-models",
            f"rows from {firsts[0][1]} on, or those before, hold labels of one kind only (are all labels of that time"
            f" known?): {instead} instead",
        )
    return chosen


def _usable(rows: DataFrame, parts: list[Column], above: float) -> list[bool]:
    """Tell of each way to part the rows whether training and test part hold labels of both kinds."""
    rare = F.col(LABEL) > above
    sides = [(part == side) & kind for part in parts for side in (TRAIN, TEST) for kind in (rare, ~rare)]
    counts = rows.agg(*[F.count_if(side) for side in sides]).collect()[0]
    return [all(counts[4 * i : 4 * i + 4]) for i in range(len(parts))]


def _order(data_type: t.DataType) -> Column:
    if isinstance(data_type, t.DateType | t.TimestampType):
        return _days(F.col(SNAPSHOT))
    return F.col(SNAPSHOT).cast("double")


def _days(value: Column) -> Column:
    return F.unix_micros(value.cast("timestamp")).cast("double") / F.lit(86_400e6)
