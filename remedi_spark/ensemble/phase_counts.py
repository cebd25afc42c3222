"""What there is in the rows of each phase, of all phases in one pass."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from remedi_spark.columns import LABEL, SNAPSHOT, WEIGHT
from remedi_spark.samples.holdout import TRAIN, UNLABELLED

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_LATEST = 0.25
"""Share of the training rows, the latest, in which levels must still be known."""


@dataclass(frozen=True)
class PhaseCounts:
    """Of the training rows of a phase, unless another part is named."""

    rows: int
    positives: int
    """With a label above 0."""
    rare: int
    """With a rare label."""
    rare_owners: int
    unlabelled: int
    """Rows without a label, which no model is trained on."""
    prior: float
    """Weighted mean of the labels."""
    until: date | None
    """Latest snapshot, where snapshots are days."""
    late_from: int | None
    """Day, as Spark counts them, that the latest quarter comes after; None without times."""


def count_phases(
    rows: DataFrame, parts: Mapping[str, Column], above: Mapping[str, float], owners: DataFrame,
    rare: Mapping[str, str], phases: Collection[str],
) -> dict[str, PhaseCounts]:  # fmt: skip
    """Return the counts of some phases.

    Args:
        rows: of all phases.
        parts: by phase, the part of each row.
        above: by phase, what rare labels are above.
        owners: one row an owner.
        rare: by phase, the column of ``owners`` that tells which have a rare label.
        phases: which to count.
    """
    if not phases:
        return {}
    columns = [_sums(parts[phase], above[phase]).alias(phase) for phase in phases]
    found = rows.agg(*columns).collect()[0]
    with_rare = owners.agg(*[F.count_if(rare[phase]).alias(phase) for phase in phases]).collect()[0]
    counts = {}
    for phase in phases:
        one = found[phase]
        until = one["until"] if isinstance(one["until"], date) else None
        prior = float(one["positive"] / one["weight"]) if one["weight"] else 0.0
        counts[phase] = PhaseCounts(
            one["rows"], one["positives"], one["rare"], with_rare[phase], one["unlabelled"], prior, until,
            one["late_from"],
        )  # fmt: skip
    return counts


def _sums(part: Column, above: float) -> Column:
    """Return the counts of a phase as one struct."""
    train = part == TRAIN
    day = F.unix_date(F.col(SNAPSHOT).cast("date"))
    return F.struct(
        F.count_if(train).alias("rows"),
        F.count_if(train & (F.col(LABEL) > 0)).alias("positives"),
        F.count_if(train & (F.col(LABEL) > above)).alias("rare"),
        F.count_if(part == UNLABELLED).alias("unlabelled"),
        F.sum(F.when(train, F.col(WEIGHT) * F.col(LABEL))).alias("positive"),
        F.sum(F.when(train, F.col(WEIGHT))).alias("weight"),
        F.max(F.when(train, F.col(SNAPSHOT))).alias("until"),
        F.percentile_approx(F.when(train, day), 1 - _LATEST).alias("late_from"),
    )
