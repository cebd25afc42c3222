"""Metrics, intervals and curves of every model on the untouched rows: one Spark task a model."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pyspark.sql import functions as F

from remedi_spark.columns import LABEL, OWNER
from remedi_spark.labels.levels import choose_levels
from remedi_spark.maths.bootstrap import bootstrap_intervals, paired_bootstrap
from remedi_spark.maths.calibration import reliability_table
from remedi_spark.maths.ranking import gains_curve, ranking_metrics
from remedi_spark.models.contract import Array

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from pyspark.sql import Column, DataFrame

GAINS_POINTS = 201
"""A point every half per cent of the owners."""
_CALIBRATION = ("brier", "ece")
"""Metrics that take a score for a probability."""
_INTERVALS = ("ap", "auc", "recall_at_k", "precision_at_k", "lift_at_k")


def measure_models(
    rows: DataFrame, scores: dict[str, Column], k: int, resamples: int, only_rank: Collection[str] = ()
) -> dict[str, dict[str, Any]]:
    """Return, by model, ``metrics``, ``intervals``, ``gains`` and ``reliability`` on labelled rows.

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
    rows: DataFrame, scores: dict[str, Column], measure: Callable[[pd.DataFrame], dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Return, by model, what ``measure`` finds (JSON-able) in its rows ``owner_id, label, score``: one task a model."""
    pairs = [
        F.struct(F.lit(name).alias("model"), score.cast("double").alias("score")) for name, score in scores.items()
    ]
    long = rows.select(_owner_number(), LABEL, F.explode(F.array(*pairs)).alias("one")).select(OWNER, LABEL, "one.*")

    def work(frame: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"model": [frame["model"].iloc[0]], "measured": [json.dumps(measure(frame))]})

    found = long.groupBy("model").applyInPandas(work, "model string, measured string").collect()
    measured = {row["model"]: json.loads(row["measured"]) for row in found}
    return {name: measured[name] for name in scores}


def _owner_number() -> Column:
    """Return the owner as a number: only who is the same matters, and text would be most of what a task holds."""
    return F.xxhash64(OWNER).alias(OWNER)


def _measure(frame: pd.DataFrame, k: int, resamples: int, probability: bool) -> dict[str, Any]:
    labels, scores = frame[LABEL].to_numpy(), frame["score"].to_numpy()
    share, recall = gains_curve(labels, scores, GAINS_POINTS)
    metrics = {name: plain(value) for name, value in ranking_metrics(labels, scores, k).items()}
    if not probability:
        metrics |= dict.fromkeys(_CALIBRATION)
    measured: dict[str, Any] = {"metrics": metrics, "gains": [share.tolist(), recall.tolist()], "intervals": {}}
    if resamples:
        owners = frame[OWNER].to_numpy()
        found = bootstrap_intervals(labels, scores, k, metrics=_INTERVALS, n_resamples=resamples, groups=owners)
        measured["intervals"] = {name: [plain(low), plain(high)] for name, (low, high) in found.items()}
    if probability and scores.min() >= 0 and scores.max() <= 1:
        table = reliability_table(labels, scores)
        measured["reliability"] = {
            name: getattr(table, name).tolist() for name in ("predicted", "observed", "rows", "lower", "upper")
        }
    return measured


def compare_models(
    rows: DataFrame, pairs: Sequence[tuple[str, str]], k: int, resamples: int, metric: str = "ap"
) -> dict[tuple[str, str], list[float | None]]:
    """Return, by pair, a metric of the first less that of the second with its 95 % interval: [value, low, high].

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
        return pd.DataFrame({"pair": [frame["pair"].iloc[0]], "found": [json.dumps([plain(x) for x in found])]})

    measured = long.groupBy("pair").applyInPandas(work, "pair int, found string").collect()
    return {pairs[row["pair"]]: json.loads(row["found"]) for row in measured}


def measure_by(rows: DataFrame, score: Column, group: Column, budget: float) -> list[dict[str, Any]]:
    """Return rows, positives, ap, recall and lift of one model in each level of ``group`` (its own top K)."""
    long = rows.select(group.cast("string").alias("level"), LABEL, score.alias("score"))

    def work(frame: pd.DataFrame) -> pd.DataFrame:
        facts = {"level": frame["level"].iloc[0], **_list_facts(frame, max(1, math.ceil(budget * len(frame))))}
        return pd.DataFrame({"facts": [json.dumps(facts)]})

    found = long.where(F.col("level").isNotNull()).groupBy("level").applyInPandas(work, "facts string").collect()
    return sorted((json.loads(row["facts"]) for row in found), key=lambda facts: str(facts["level"]))


def measure_segments(
    rows: DataFrame, score: Column, columns: dict[str, Column], cut: float, levels: int
) -> list[dict[str, Any]]:
    """Return what :func:`measure_by` does for the levels of each column that matter, largest first.

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

    def work(frame: pd.DataFrame) -> pd.DataFrame:
        where = {name: frame[name].iloc[0] for name in ("column", "level")}
        facts = {**where, **_list_facts(frame, int((frame["score"] >= cut).sum()))}
        return pd.DataFrame({"facts": [json.dumps(facts)]})

    by_level = long.join(F.broadcast(kept), ["column", "level"]).groupBy("column", "level")
    found = [json.loads(row["facts"]) for row in by_level.applyInPandas(work, "facts string").collect()]
    order = list(columns)
    return sorted(found, key=lambda facts: (order.index(facts["column"]), -facts["rows"], facts["level"]))


def _list_facts(frame: pd.DataFrame, k: int) -> dict[str, Any]:
    """Return rows and positives of a group, AP, and recall and lift of its best ``k``, which may be none."""
    labels, scores = frame[LABEL].to_numpy(), frame["score"].to_numpy()
    metrics = ranking_metrics(labels, scores, max(1, k))
    positives = int(labels.sum())
    at_k = (metrics["recall_at_k"], metrics["lift_at_k"]) if k else (0.0 if positives else math.nan, math.nan)
    return {
        "rows": len(labels), "positives": positives, "ap": plain(metrics["ap"]),
        "recall_at_k": plain(at_k[0]), "lift_at_k": plain(at_k[1]),
    }  # fmt: skip


@dataclass(frozen=True)
class Fidelity:
    """How closely the student follows its teacher.

    Attributes:
        spearman: rank correlation of their scores; None where one of them is constant.
        top_k_overlap: share of the top K that they have in common.
        cut: the student's lowest score in its top K.
    """

    spearman: float | None
    top_k_overlap: float
    cut: float

    def measures(self) -> dict[str, float | None]:
        """Return what ``metrics.json`` shows."""
        return {"spearman": self.spearman, "top_k_overlap": self.top_k_overlap}


def fidelity(rows: DataFrame, student: str, teacher: str, k: int) -> Fidelity:
    """Return how closely two score columns agree, and where the best ``k`` of the first begin: one task, two numbers a
    row."""

    def work(frame: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame([vars(compare_ranks(frame[student].to_numpy(), frame[teacher].to_numpy(), k))])

    together = rows.select(student, teacher, F.lit(0).alias("all")).groupBy("all")
    found = together.applyInPandas(work, "spearman double, top_k_overlap double, cut double").collect()[0]
    return Fidelity(plain(found["spearman"]), found["top_k_overlap"], found["cut"])


def compare_ranks(student: Array, teacher: Array, k: int) -> Fidelity:
    """Return how closely two scores of the same rows, both (rows,), agree; mean ranks for ties, the first come first.

    Example:
        >>> compare_ranks(np.array([0.1, 0.2, 0.3]), np.array([1.0, 3.0, 2.0]), k=2)
        Fidelity(spearman=0.5, top_k_overlap=1.0, cut=0.2)
    """
    one, other = pd.Series(student).rank(), pd.Series(teacher).rank()
    best, top = (np.argsort(-ranked.to_numpy(), kind="stable")[:k] for ranked in (one, other))
    correlation = plain(float(np.corrcoef(one, other)[0, 1]))
    return Fidelity(correlation, len({*best.tolist()} & {*top.tolist()}) / k, float(student[best[-1]]))


def plain(value: float) -> float | None:
    """Return a number for JSON: None for what is not finite."""
    return None if value is None or not math.isfinite(value) else float(value)
