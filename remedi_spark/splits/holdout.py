"""Which rows stay untouched until everything is judged on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql import types as t

from remedi_spark.columns import LABEL, ROW_HASH, SNAPSHOT
from remedi_spark.config.chain import EvaluationConfig
from remedi_spark.errors import InputError
from remedi_spark.spark.partitions import row_hash
from remedi_spark.spark.quantiles import quantiles
from remedi_spark.splits.folds import assign_folds

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

TRAIN, TEST, UNLABELLED, DROPPED = "train", "test", "unlabelled", "dropped"


@dataclass(frozen=True)
class Holdout:
    """How the untouched rows were chosen, and a column that says each row's part."""

    part: Column
    description: str


def split_holdout(samples: DataFrame, config: EvaluationConfig, seed: int, above: float = 0.0) -> tuple[DataFrame, str]:
    """Add ``part`` (train, test, unlabelled, dropped) and say in one sentence how the test rows were chosen.

    With a time, the latest labelled rows are held out and training ends ``embargo_days`` before them; without (or with
    a single time), a share of the owners is, even in those with a label above ``above``.
    """
    labelled = samples.where(F.col(LABEL).isNotNull())
    by_time = _by_time(labelled, config)
    if by_time is not None:
        return samples.withColumn("part", _labelled_or_not(by_time.part)), by_time.description
    shares = max(2, round(1 / config.test_share))
    owners = (
        assign_folds(labelled, shares, seed + 1, above).select("owner_id", F.col("fold").alias("bucket")).distinct()
    )
    marked = samples.join(owners, "owner_id", "left")
    part = F.when(F.col("bucket") == 0, F.lit(TEST)).otherwise(F.lit(TRAIN))
    described = f"one owner in {shares}, chosen by hash, that no stage was trained on"
    return marked.withColumn("part", _labelled_or_not(part)).drop("bucket"), described


def _labelled_or_not(part: Column) -> Column:
    return F.when(F.col(LABEL).isNull(), F.lit(UNLABELLED)).otherwise(part)


def _by_time(labelled: DataFrame, config: EvaluationConfig) -> Holdout | None:
    data_type = labelled.schema[SNAPSHOT].dataType
    order = _order(data_type)
    if config.test_from is not None:
        if not labelled.where(F.col(SNAPSHOT).isNotNull()).head(1):
            raise InputError("evaluation.test_from: set, but the table has no time column; name it with --time")
        cut = _days(F.lit(config.test_from))
        shown = str(config.test_from)
    else:
        first = _first_test(labelled, order, config.test_share)
        if first is None:
            return None
        cut, shown = F.lit(first[0]), str(first[1])
    gap = config.embargo_days if isinstance(data_type, t.DateType | t.TimestampType) else 0
    early = order < cut - gap if not gap else order <= cut - gap
    part = F.when(order >= cut, F.lit(TEST)).when(early, F.lit(TRAIN)).otherwise(F.lit(DROPPED))
    until = f", at least {gap} days after the last training row" if gap else ""
    return Holdout(part, f"rows from {shown} on{until}, that no stage was trained on")


def _first_test(labelled: DataFrame, order: Column, share: float) -> tuple[float, object] | None:
    """Return the earliest time of the test part (as a number, and as it stands), or None without two times."""
    timed = labelled.where(order.isNotNull())
    ordered = timed.select(order.alias("order"), SNAPSHOT, row_hash().alias(ROW_HASH))
    rows, low, high = ordered.agg(F.count("*"), F.min("order"), F.max("order")).collect()[0]
    if low == high:
        return None
    [[cut]] = quantiles(ordered, ["order"], [1 - share], rows)
    late = F.col("order") >= cut if cut > low else F.col("order") > low
    first, shown = ordered.where(late).agg(F.min("order"), F.min(SNAPSHOT)).collect()[0]
    return float(first), shown


def _order(data_type: t.DataType) -> Column:
    if isinstance(data_type, t.DateType | t.TimestampType):
        return _days(F.col(SNAPSHOT))
    return F.col(SNAPSHOT).cast("double")


def _days(value: Column) -> Column:
    return F.unix_micros(value.cast("timestamp")).cast("double") / F.lit(86_400e6)
