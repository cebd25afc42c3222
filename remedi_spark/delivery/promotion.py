"""Candidate against champion, on the same rows that neither has learned from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pyspark.sql import functions as F

from remedi_spark.columns import KEY, LABEL, PART, SNAPSHOT
from remedi_spark.config import Config
from remedi_spark.errors import InputError
from remedi_spark.labels.binned import EXACT_ROWS
from remedi_spark.labels.comparing import compare_models
from remedi_spark.maths.expected import ESTIMATED, draw_figures
from remedi_spark.maths.recalibration import for_later_rows
from remedi_spark.maths.score_grid import ScoredRows
from remedi_spark.progress import warn
from remedi_spark.samples.checks import check_labels
from remedi_spark.samples.flat import FlatTable, key_columns, require_roles
from remedi_spark.samples.holdout import TEST
from remedi_spark.samples.overlap import shared_keys, without_keys
from remedi_spark.samples.schema import FeatureContract
from remedi_spark.scoring.batch import Batch, score_canonical, scored_batch
from remedi_spark.scoring.bundle import BundleParts
from remedi_spark.scoring.monitoring.estimates import holdout_of
from remedi_spark.spark.joins import join_rows
from remedi_spark.spark.kept import kept
from remedi_spark.storage.tables import read_table
from remedi_spark.storage.workspace import FINAL, Workspace

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

ONE, OTHER = "candidate", "champion"
RESAMPLES = 1000


@dataclass(frozen=True)
class Comparison:
    """Metric of the candidate less that of the champion, with its 95 % interval over owners."""

    metric: str
    rows: int
    positives: int
    value: float
    low: float
    high: float
    estimated: bool = False
    """Without labels: ``positives`` are those that the candidate expects."""

    def beats(self, margin: float) -> bool:
        """Whether the whole interval lies above the margin; an undefined metric beats nothing."""
        return self.low > margin

    def __str__(self) -> str:
        known = "estimated, expected to be positive" if self.estimated else "positive"
        return (
            f"{self.metric} of the candidate less the champion's: {self.value:+.4f} ({self.low:+.4f} to"
            f" {self.high:+.4f}) on {self.rows} rows with {self.positives} {known}"
        )


def on_table(
    spark: SparkSession, source: FlatTable, candidate: BundleParts, champion: BundleParts, config: Config,
    learned: DataFrame | None = None,
) -> Comparison:  # fmt: skip
    """Compare the shipped models on a labelled table that neither has learned from.

    Args:
        spark: the session.
        source: the table and the roles of its columns.
        candidate: of the two.
        champion: the other.
        config: of the candidate.
        learned: keys of the rows that the candidate was trained on; rows of the table among them are left out.

    Raises:
        InputError: the table lacks what a model needs, or a model has learned from labels of its time.
    """
    contracts = [FeatureContract.from_dict(model.encoder["contract"]) for model in (candidate, champion)]
    as_text = {source.id, *contracts[0].names, *contracts[1].names} - {source.label, source.time}
    frame = read_table(spark, source.table, as_text=as_text, roles=list(source.roles().values()))
    require_roles(frame, source, source.table)
    rows = frame.where(source.label_column().isNotNull())
    keys = key_columns(frame, source.id, source.time)
    scored = rows.select(*keys, source.label_column().alias(LABEL))
    check_labels(scored, source.table, source.label)
    _require_after(scored, candidate, ONE, config)
    _require_after(scored, champion, OTHER, config)
    scored = scored if learned is None else _without_learned(scored, learned, source.table)
    with (
        scored_batch(rows, candidate, table=source.table) as one,
        scored_batch(rows, champion, table=source.table) as other,
    ):
        both = join_rows(scored, one.scores().withColumnRenamed("score", ONE))
        return _compare(join_rows(both, other.scores().withColumnRenamed("score", OTHER)), config)


def _without_learned(rows: DataFrame, learned: DataFrame, table: str) -> DataFrame:
    """Leave out the rows that the candidate has learned from, and say how many."""
    shared = shared_keys(rows, learned)
    count, total = shared.count(), rows.count()
    if not count:
        return rows
    if count == total:
        raise InputError(f"promote: the candidate has learned from all {total} rows of --table {table}; give new rows")
    warn("promote", f"the candidate has learned from {count} of {total} rows of --table {table}; they are left out")
    return without_keys(rows, shared)


def on_test_rows(workspace: Workspace, champion: BundleParts, config: Config) -> Comparison:
    """Compare on the candidate's own test rows, of which only those later than the champion's labels count.

    The candidate is then its ``holdout`` twin, trained without these rows: the shipped one has learned from them.

    Raises:
        InputError: the champion has learned from these rows, or reads a feature that they do not have.
    """
    facts = workspace.models(FINAL).load("phases")
    phase = facts["measured_phase"]
    tests = workspace.read(phase, "student_scores").where(F.col(PART) == TEST)
    tests = tests.select(*KEY, LABEL, F.col("student").alias(ONE))
    if phase != FINAL:  # a test table of the user's own is taken at its word
        days = _first_unseen(champion, config)
        if days is None:
            raise InputError(
                "promote: without a time column no row can be told that the champion has not learned from; give a"
                " labelled table of new rows with --table"
            )
        tests = tests.where(F.col(SNAPSHOT) >= F.lit(days))
    if not tests.head(1):
        raise InputError(
            "promote: the champion has learned from all test rows of the candidate; give a labelled table of later"
            " rows with --table, or promote again when later labels are known"
        )
    mine = FeatureContract.from_dict(workspace.models(FINAL).load("contract"))
    samples = workspace.tables.read("samples")
    theirs = FeatureContract.from_dict(champion.encoder["contract"])
    features = samples.select(*KEY, *_columns(mine, theirs))
    other = score_canonical(join_rows(tests.select(*KEY), features), champion)
    return _compare(join_rows(tests, other.withColumnRenamed("score", OTHER)), config)


def by_estimates(
    frame: DataFrame, table: str, candidate: BundleParts, champion: BundleParts, config: Config
) -> Comparison:
    """Compare what both lists of the same rows are expected to hold, before a label is known.

    Each model is taken at what its own probabilities turned out to be worth on the test rows of its training, drawn
    apart: the interval is wider than one of labels. Where a model has no test rows, it is wider still.

    Args:
        frame: the rows, with the features of both models.
        table: their name, for messages.
        candidate: of the two.
        champion: the other.
        config: budget and metric.

    Raises:
        InputError: the metric is none that is estimated, or a bundle is of a version that cannot.
    """
    metric = config.mlflow.metric
    if metric not in ESTIMATED:
        raise InputError(f"--estimated: found mlflow.metric {metric}, expected one of {', '.join(ESTIMATED)}")
    with scored_batch(frame, candidate, table=table) as one, scored_batch(frame, champion, table=table) as other:
        k = max(1, math.ceil(config.scores.budget * one.rows))
        drawn = [_drawn(batch, k, seed) for seed, batch in enumerate((one, other))]
        less = drawn[0][metric] - drawn[1][metric]
        if not np.isfinite(less).any():
            raise InputError(
                f"table {table}: {one.rows} rows without a chance to be positive; expected rows to compare"
            )
        low, high = np.nanquantile(less, [0.025, 0.975])
        expected = round(float(drawn[0]["buyers"].mean()))
        return Comparison(metric, one.rows, expected, float(np.nanmean(less)), float(low), float(high), estimated=True)


def _drawn(batch: Batch, k: int, seed: int) -> dict[str, npt.NDArray[np.float64]]:
    counted = batch.counts()
    if counted is None or counted[0].chances is None:
        raise InputError(
            f"model {batch.parts.model_version}: has no distribution of its training rows, from which estimates start;"
            " promote by labels, or train it again"
        )
    scored, known = ScoredRows.of_counts(counted[0].chances), for_later_rows(holdout_of(batch.parts).known)
    return draw_figures(scored, k, known, RESAMPLES, np.random.default_rng(seed))


def _columns(mine: FeatureContract, theirs: FeatureContract) -> list[Column]:
    """Return the champion's ``f0 … fn`` out of the candidate's."""
    place = {feature: f"f{i}" for i, feature in enumerate(mine.features)}
    for feature in theirs.features:
        if feature not in place:
            raise InputError(
                f"promote: the champion reads feature {feature.name!r} ({feature.kind}), which the candidate's rows do"
                " not have; give a labelled table that has the features of both with --table"
            )
    return [F.col(place[feature]).alias(f"f{i}") for i, feature in enumerate(theirs.features)]


def _first_unseen(model: BundleParts, config: Config) -> date | None:
    """Return the first snapshot whose label window begins after those that a model learned from have ended."""
    until = (model.distribution or {}).get("until")
    if until is None:
        return None
    label = config.target
    return date.fromisoformat(until[:10]) + timedelta(days=label.gap_days + label.horizon_days if label else 1)


def _require_after(rows: DataFrame, model: BundleParts, who: str, config: Config) -> None:
    first = _first_unseen(model, config)
    if first is None or dict(rows.dtypes)[SNAPSHOT] not in ("date", "timestamp"):
        return
    found = rows.agg(F.min(SNAPSHOT).cast("date")).collect()[0][0]
    if found is not None and found < first:
        raise InputError(
            f"promote: --table has rows of {found}, but the {who} has learned from labels up to {first}; give rows from"
            f" {first} on"
        )


def _compare(rows: DataFrame, config: Config) -> Comparison:
    with kept(rows) as held:
        size, positives = held.agg(F.count("*"), F.sum(LABEL)).collect()[0]
        if not size or not positives or positives == size:
            raise InputError(f"promote: {size} rows with {positives or 0} positive; expected rows of both labels")
        k = max(1, math.ceil(config.scores.budget * size))
        scored = held.withColumns({name: F.col(name).cast("double") for name in (ONE, OTHER)})
        found = compare_models(scored, [(ONE, OTHER)], k, RESAMPLES, config.mlflow.metric, many=size > EXACT_ROWS)[
            ONE, OTHER
        ]
    return Comparison(config.mlflow.metric, int(size), int(positives), *found)
