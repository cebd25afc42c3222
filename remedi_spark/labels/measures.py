"""Metrics, intervals and curves of every model on the test rows: one Spark task a model."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import pandas as pd
from pyspark.sql import functions as F

from remedi_spark.columns import LABEL, OWNER
from remedi_spark.labels.levels import choose_levels
from remedi_spark.labels.measured import Fidelity, GainsCurve, Measured, ReliabilityBin, Segment, SnapshotResult
from remedi_spark.maths.bootstrap import Difference, bootstrap_intervals, paired_bootstrap
from remedi_spark.maths.calibration import reliability_table
from remedi_spark.maths.ranking import gains_curve, ranking_metrics
from remedi_spark.models.contract import Array
from remedi_spark.storage.strict_json import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from pyspark.sql import Column, DataFrame, GroupedData

Found = TypeVar("Found", bound=Record)
GAINS_POINTS = 201
"""A point every half per cent of the owners."""
_CALIBRATION = ("brier", "ece")
"""Metrics that take a score for a probability."""
_INTERVALS = ("ap", "auc", "recall_at_k", "precision_at_k", "lift_at_k")


def measure_models(
    rows: DataFrame, scores: dict[str, Column], k: int, resamples: int, only_rank: Collection[str] = ()
) -> dict[str, Measured]:
    """Return ranking and calibration metrics, intervals, gains and reliability of each model on labelled rows.

    Args:
        rows: owner_id, label and what the score columns refer to.
        scores: by model, the column that ranks; a probability unless it leaves [0, 1].
        k: owners that the budget allows.
        resamples: bootstrap resamples, of owners; 0: no intervals.
        only_rank: models whose scores are no probabilities although they lie in [0, 1]: they get no calibration.
    """
    ranking = frozenset(only_rank)
    return by_model(rows, scores, lambda frame: _measure(frame, k, resamples, frame["model"].iloc[0] not in ranking))


def by_model(
    rows: DataFrame, scores: dict[str, Column], measure: Callable[[pd.DataFrame], Measured]
) -> dict[str, Measured]:
    """Return what ``measure`` finds in the rows ``model, owner_id, label, score`` of each model: one task a model."""
    pairs = [
        F.struct(F.lit(name).alias("model"), score.cast("double").alias("score")) for name, score in scores.items()
    ]
    long = rows.select(_owner_number(), LABEL, F.explode(F.array(*pairs)).alias("one")).select(OWNER, LABEL, "one.*")
    measured = {one.model: one for one in _by_group(long.groupBy("model"), Measured, measure)}
    return {name: measured[name] for name in scores}


def _by_group(grouped: GroupedData, kind: type[Found], measure: Callable[[pd.DataFrame], Found]) -> list[Found]:
    """Return what ``measure`` finds in each group, in no order: one task a group, JSON on the way to the driver."""

    def work(frame: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"found": [measure(frame).model_dump_json()]})

    return [kind.model_validate_json(row["found"]) for row in grouped.applyInPandas(work, "found string").collect()]


def _owner_number() -> Column:
    """Return the owner as a number: only who is the same matters, and text would be most of what a task holds."""
    return F.xxhash64(OWNER).alias(OWNER)


def _measure(frame: pd.DataFrame, k: int, resamples: int, probability: bool) -> Measured:
    model, labels, scores = frame["model"].iloc[0], frame[LABEL].to_numpy(), frame["score"].to_numpy()
    metrics: dict[str, float | None] = {**ranking_metrics(labels, scores, k)}
    if not probability:
        metrics |= dict.fromkeys(_CALIBRATION)
    intervals, reliability = {}, []
    if resamples:
        owners = frame[OWNER].to_numpy()
        intervals = bootstrap_intervals(labels, scores, k, metrics=_INTERVALS, n_resamples=resamples, groups=owners)
    if probability and scores.min() >= 0 and scores.max() <= 1:
        table = reliability_table(labels, scores)
        bins = zip(table.predicted, table.observed, table.rows, table.lower, table.upper, strict=True)
        reliability = [
            ReliabilityBin(predicted=predicted, observed=observed, rows=round(rows), lower=lower, upper=upper)
            for predicted, observed, rows, lower, upper in bins
        ]
    gains = gains_of(model, *gains_curve(labels, scores, GAINS_POINTS))
    return Measured(model=model, metrics=metrics, intervals=intervals, gains=gains, reliability=reliability)


def gains_of(model: str, share: Array, reached: Array) -> GainsCurve | None:
    """Return the curve without its start at (0, 0); None where nothing can be reached."""
    if not np.isfinite(reached).all():
        return None
    return GainsCurve(model=model, share=share[1:].tolist(), recall=reached[1:].tolist())


def compare_models(
    rows: DataFrame, pairs: Sequence[tuple[str, str]], k: int, resamples: int, metric: str = "ap"
) -> dict[tuple[str, str], Difference]:
    """Return, by pair, a metric of the first less that of the second with its 95 % interval.

    Both are measured on the same resampled owners, so that the interval is of the difference alone.
    """
    both = [
        F.struct(
            F.lit(i).alias("pair"), F.col(one).cast("double").alias("one"), F.col(other).cast("double").alias("other")
        )
        for i, (one, other) in enumerate(pairs)
    ]
    long = rows.select(_owner_number(), LABEL, F.explode(F.array(*both)).alias("both")).select(OWNER, LABEL, "both.*")

    def work(frame: pd.DataFrame) -> pd.DataFrame:
        owners = frame[OWNER].to_numpy()
        labels, one, other = (frame[name].to_numpy() for name in (LABEL, "one", "other"))
        found = paired_bootstrap(labels, one, other, k, metric, n_resamples=resamples, groups=owners)
        return pd.DataFrame([(frame["pair"].iloc[0], *found)])

    measured = long.groupBy("pair").applyInPandas(work, "pair int, value double, low double, high double").collect()
    # Null: Arrow takes nan for it.
    return {pairs[pair]: Difference(*(math.nan if x is None else x for x in found)) for pair, *found in measured}


def measure_snapshots(rows: DataFrame, score: Column, snapshot: Column, budget: float) -> list[SnapshotResult]:
    """Return rows, positives, AP, recall and lift of one model on each snapshot (its own top K), in their order."""
    long = rows.select(snapshot.cast("string").alias("snapshot"), LABEL, score.alias("score"))

    def measure(frame: pd.DataFrame) -> SnapshotResult:
        return _listed(SnapshotResult, frame, max(1, math.ceil(budget * len(frame))), "snapshot")

    grouped = long.where(F.col("snapshot").isNotNull()).groupBy("snapshot")
    return sorted(_by_group(grouped, SnapshotResult, measure), key=lambda found: found.snapshot)


def measure_segments(
    rows: DataFrame, score: Column, columns: dict[str, Column], cut: float, levels: int
) -> list[Segment]:
    """Return what :func:`measure_snapshots` does for the levels of each column that matter, largest first.

    Half of them are the most frequent ones, half those with the most positives of the others.

    On the list is who scores ``cut`` or more, in every segment the same: recall and lift say how it serves each.

    Args:
        rows: labelled rows and what ``score`` and ``columns`` refer to.
        score: of the model.
        columns: by name; null is the level ``(missing)``.
        cut: lowest score on the list.
        levels: how many of each column.
    """
    pairs = [
        F.struct(F.lit(name).alias("column"), F.coalesce(column.cast("string"), F.lit("(missing)")).alias("level"))
        for name, column in columns.items()
    ]
    long = rows.select(LABEL, score.alias("score"), F.explode(F.array(*pairs)).alias("at")).select(
        LABEL, "score", "at.*"
    )
    counted = long.groupBy("column", "level").agg(F.count("*").alias("rows"), F.sum(LABEL).alias("positives"))
    kept = choose_levels(counted, ["column"], "level", "positives", levels).select("column", "level")

    def measure(frame: pd.DataFrame) -> Segment:
        return _listed(Segment, frame, int((frame["score"] >= cut).sum()), "column", "level")

    grouped = long.join(F.broadcast(kept), ["column", "level"]).groupBy("column", "level")
    found, order = _by_group(grouped, Segment, measure), list(columns)
    return sorted(found, key=lambda one: (order.index(one.column), -one.rows, one.level))


def _listed(kind: type[Found], frame: pd.DataFrame, k: int, *where: str) -> Found:
    """Return rows and positives of a group, AP, and recall and lift of its best ``k``, which may be none."""
    labels, scores = frame[LABEL].to_numpy(), frame["score"].to_numpy()
    metrics = ranking_metrics(labels, scores, max(1, k))
    positives = int(labels.sum())
    at_k = (metrics["recall_at_k"], metrics["lift_at_k"]) if k else (0.0 if positives else math.nan, math.nan)
    return kind.model_validate({
        **{name: frame[name].iloc[0] for name in where},
        "rows": len(labels), "positives": positives, "ap": metrics["ap"], "recall_at_k": at_k[0], "lift_at_k": at_k[1],
    })  # fmt: skip


def fidelity(rows: DataFrame, student: str, teacher: str, k: int) -> tuple[Fidelity, float]:
    """Return how closely two score columns agree, and the lowest of the best ``k`` scores of the first: one task, two
    numbers a row."""

    def work(frame: pd.DataFrame) -> pd.DataFrame:
        found, cut = compare_ranks(frame[student].to_numpy(), frame[teacher].to_numpy(), k)
        return pd.DataFrame({"found": [found.model_dump_json()], "cut": [cut]})

    together = rows.select(student, teacher, F.lit(0).alias("all")).groupBy("all")
    found, cut = together.applyInPandas(work, "found string, cut double").collect()[0]
    return Fidelity.model_validate_json(found), cut


def compare_ranks(student: Array, teacher: Array, k: int) -> tuple[Fidelity, float]:
    """Return how closely two scores of the same rows, both (rows,), agree, and the lowest of the student's best ``k``.

    Ranks are means for ties; in the top K the first come first.

    Example:
        >>> compare_ranks(np.array([0.1, 0.2, 0.3]), np.array([1.0, 3.0, 2.0]), k=2)
        (Fidelity(spearman=0.5, top_k_overlap=1.0), 0.2)
    """
    one, other = pd.Series(student).rank(), pd.Series(teacher).rank()
    best, top = (np.argsort(-ranked.to_numpy(), kind="stable")[:k] for ranked in (one, other))
    overlap = len({*best.tolist()} & {*top.tolist()}) / k
    return Fidelity(spearman=np.corrcoef(one, other)[0, 1], top_k_overlap=overlap), float(student[best[-1]])
