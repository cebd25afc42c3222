"""Metrics, intervals and curves of every model on the test rows: one Spark task a model."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import pandas as pd
from pyspark.sql import functions as F

from remedi_spark.columns import LABEL, OWNER
from remedi_spark.labels.binned import FINE, NO_BLOCK, as_rows, by_block, count_for_intervals, count_scores
from remedi_spark.labels.levels import choose_levels
from remedi_spark.labels.measured import GainsCurve, Measured, ReliabilityBin, Segment, SnapshotResult
from remedi_spark.maths.block_bootstrap import block_intervals
from remedi_spark.maths.bootstrap import bootstrap_intervals
from remedi_spark.maths.calibration import reliability_table
from remedi_spark.maths.ranking import gains_curve, ranking_metrics
from remedi_spark.models.contract import Array
from remedi_spark.storage.strict_json import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from pyspark.sql import Column, DataFrame, GroupedData

Found = TypeVar("Found", bound=Record)
GAINS_POINTS = 201
"""A point every half per cent of the owners."""
_CALIBRATION = ("brier", "ece")
"""Metrics that take a score for a probability."""
_INTERVALS = ("ap", "auc", "recall_at_k", "precision_at_k", "lift_at_k")


def measure_models(
    rows: DataFrame, scores: dict[str, Column], k: int, resamples: int, only_rank: Collection[str] = (), *,
    many: bool = False,
) -> dict[str, Measured]:  # fmt: skip
    """Return ranking and calibration metrics, intervals, gains and reliability of each model on labelled rows.

    Args:
        rows: owner_id, label and what the score columns refer to.
        scores: by model, the column that ranks; a probability unless it leaves [0, 1].
        k: owners that the budget allows.
        resamples: bootstrap resamples, of owners; 0: no intervals.
        only_rank: models whose scores are no probabilities although they lie in [0, 1]: they get no calibration.
        many: count rows by bins of the score, because they may be too many for a task; metrics then differ by less than
            1e-4, and intervals are of blocks of owners.
    """
    ranking = frozenset(only_rank)
    if not many:
        return by_model(rows, scores, lambda frame: _exact(frame, k, resamples, frame["model"].iloc[0] not in ranking))
    long = by_name(rows, "model", scores)
    counts = count_for_intervals(long, ["model"], F.col(OWNER)) if resamples else _fine(long, "model")
    found = _by_group(
        counts.groupBy("model"), Measured,
        lambda frame: _counted(frame, k, resamples, frame["model"].iloc[0] not in ranking),
    )  # fmt: skip
    return {one.model: one for name in scores for one in found if one.model == name}


def _fine(long: DataFrame, *keys: str) -> DataFrame:
    return count_scores(long, list(keys), FINE).withColumn("block", F.lit(NO_BLOCK))


def by_name(rows: DataFrame, key: str, scores: dict[str, Column]) -> DataFrame:
    """Return owner, label, ``score`` and its name for each of the scores."""
    pairs = [F.struct(F.lit(name).alias(key), score.cast("double").alias("score")) for name, score in scores.items()]
    return rows.select(owner_number(), LABEL, F.explode(F.array(*pairs)).alias("one")).select(OWNER, LABEL, "one.*")


def by_model(
    rows: DataFrame, scores: dict[str, Column], measure: Callable[[pd.DataFrame], Measured]
) -> dict[str, Measured]:
    """Return what ``measure`` finds in the rows ``model, owner_id, label, score`` of each model: one task a model."""
    long = by_name(rows, "model", scores)
    measured = {one.model: one for one in _by_group(long.groupBy("model"), Measured, measure)}
    return {name: measured[name] for name in scores}


def _by_group(grouped: GroupedData, kind: type[Found], measure: Callable[[pd.DataFrame], Found]) -> list[Found]:
    """Return what ``measure`` finds in each group, in no order: one task a group, JSON on the way to the driver."""

    def work(frame: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"found": [measure(frame).model_dump_json()]})

    return [kind.model_validate_json(row["found"]) for row in grouped.applyInPandas(work, "found string").collect()]


def owner_number() -> Column:
    """Return the owner as a number: only who is the same matters, and text would be most of what a task holds."""
    return F.xxhash64(OWNER).alias(OWNER)


def _exact(frame: pd.DataFrame, k: int, resamples: int, probability: bool) -> Measured:
    """Measure the rows of a model."""
    labels, scores = frame[LABEL].to_numpy(), frame["score"].to_numpy()
    intervals = {}
    if resamples:
        owners = frame[OWNER].to_numpy()
        intervals = bootstrap_intervals(labels, scores, k, metrics=_INTERVALS, n_resamples=resamples, groups=owners)
    return _measured(frame["model"].iloc[0], (labels, scores, None), k, intervals, probability)


def _counted(frame: pd.DataFrame, k: int, resamples: int, probability: bool) -> Measured:
    """Measure the counts of a model: fine ones for its metrics, coarse ones by block for their intervals."""
    fine = frame["block"] == NO_BLOCK
    labels, scores, weights = as_rows(frame[fine])
    intervals = {}
    if resamples:
        metrics = ranking_metrics(labels, scores, k, weights)
        coarse, share = by_block(frame[~fine]), k / float(weights.sum())
        intervals = block_intervals(coarse, metrics, share, _INTERVALS, resamples)
    return _measured(frame["model"].iloc[0], (labels, scores, weights), k, intervals, probability)


def _measured(
    model: str, rows: tuple[Array, Array, Array | None], k: int, intervals: dict[str, tuple[float, float]],
    probability: bool,
) -> Measured:  # fmt: skip
    labels, scores, weights = rows
    metrics: dict[str, float | None] = {**ranking_metrics(labels, scores, k, weights)}
    if not probability:
        metrics |= dict.fromkeys(_CALIBRATION)
    reliability = []
    if probability and scores.min() >= 0 and scores.max() <= 1:
        table = reliability_table(labels, scores, weights=weights)
        bins = zip(table.predicted, table.observed, table.rows, table.lower, table.upper, strict=True)
        reliability = [
            ReliabilityBin(predicted=predicted, observed=observed, rows=round(rows), lower=lower, upper=upper)
            for predicted, observed, rows, lower, upper in bins
        ]
    gains = gains_of(model, *gains_curve(labels, scores, GAINS_POINTS, weights))
    return Measured(model=model, metrics=metrics, intervals=intervals, gains=gains, reliability=reliability)


def gains_of(model: str, share: Array, reached: Array) -> GainsCurve | None:
    """Return the curve without its start at (0, 0); None where nothing can be reached."""
    if not np.isfinite(reached).all():
        return None
    return GainsCurve(model=model, share=share[1:].tolist(), recall=reached[1:].tolist())


def measure_snapshots(
    rows: DataFrame, score: Column, snapshot: Column, budget: float, *, many: bool = False
) -> list[SnapshotResult]:
    """Return rows, positives, AP, recall and lift of one model on each snapshot (its own top K), in their order.

    ``many``: as in :func:`measure_models`.
    """
    long = rows.select(snapshot.cast("string").alias("snapshot"), LABEL, score.alias("score"))

    def measure(frame: pd.DataFrame) -> SnapshotResult:
        return _listed(SnapshotResult, frame, lambda scores, weights: math.ceil(budget * weights.sum()), "snapshot")

    grouped = _counted_if(many, long.where(F.col("snapshot").isNotNull()), "snapshot").groupBy("snapshot")
    return sorted(_by_group(grouped, SnapshotResult, measure), key=lambda found: found.snapshot)


def measure_segments(
    rows: DataFrame, score: Column, columns: dict[str, Column], cut: float, levels: int, *, many: bool = False
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
        many: as in :func:`measure_models`.
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
        return _listed(Segment, frame, lambda scores, weights: weights[scores >= cut].sum(), "column", "level")

    chosen = long.join(F.broadcast(kept), ["column", "level"])
    grouped = _counted_if(many, chosen, "column", "level").groupBy("column", "level")
    found, order = _by_group(grouped, Segment, measure), list(columns)
    return sorted(found, key=lambda one: (order.index(one.column), -one.rows, one.level))


def _counted_if(many: bool, rows: DataFrame, *keys: str) -> DataFrame:
    return count_scores(rows, list(keys), FINE) if many else rows


def _listed(kind: type[Found], frame: pd.DataFrame, best: Callable[[Array, Array], float], *where: str) -> Found:
    """Return rows and positives of a group, AP, and recall and lift of its best ones, which may be none.

    ``best`` gives their number from the scores and how many rows each stands for. The group is rows, or counts.
    """
    if "bin" in frame:
        labels, scores, weights = as_rows(frame)
    else:
        labels, scores, weights = frame[LABEL].to_numpy(), frame["score"].to_numpy(), np.ones(len(frame))
    k = round(best(scores, weights))
    metrics = ranking_metrics(labels, scores, max(1, k), weights)
    positives = round(float(labels @ weights))
    at_k = (metrics["recall_at_k"], metrics["lift_at_k"]) if k else (0.0 if positives else math.nan, math.nan)
    return kind.model_validate({
        **{name: frame[name].iloc[0] for name in where},
        "rows": round(float(weights.sum())), "positives": positives,
        "ap": metrics["ap"], "recall_at_k": at_k[0], "lift_at_k": at_k[1],
    })  # fmt: skip
