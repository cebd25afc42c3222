"""Stage 6: score owners with the student, as the warehouse reads it.

Columns: owner_id, snapshot_date (null without a time), score (calibrated probability, or the predicted amount), rank
(1 = best, ties broken by a hash of the id), percentile (100 = best), decile (1 = best), in_top_k, reasons (strongest
features of the top K rows), model_version, run_id, scored_at. A score depends on the row's own features alone, never on
who else is scored.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from pyspark.errors import PySparkException
from pyspark.sql import functions as F

from remedi_spark.columns import SNAPSHOT
from remedi_spark.config import Config
from remedi_spark.errors import InputError, cause
from remedi_spark.progress import log, run_id, side_work, warn
from remedi_spark.samples.encoder import Encoder
from remedi_spark.samples.schema import FeatureContract
from remedi_spark.scoring.batch import Batch, scored_batch
from remedi_spark.scoring.bundle import BundleParts
from remedi_spark.scoring.monitoring.estimates import estimated, holdout_of
from remedi_spark.scoring.monitoring.history import MONITORING, after_training, earlier, realised, rows_before, to_frame
from remedi_spark.scoring.monitoring.measures import Measure, Scored, against_training, in_words, row_counts
from remedi_spark.scoring.open_model import load_model
from remedi_spark.storage.outputs import beside, check_output, write_table
from remedi_spark.storage.own_names import own_names
from remedi_spark.storage.tables import Tables, read_table
from remedi_spark.storage.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import DataFrame, SparkSession

    from remedi_spark.scoring.monitoring.distribution import Counts, Distribution

TOLD = 3
"""Figures beyond their limits that are named on stderr; the table has them all."""


def run(workspace: Workspace, config: Config, parts: BundleParts, snapshots: Sequence[date] = ()) -> int:
    """Score snapshots of ``owner_features`` (by default the latest) into ``scores``; return the number of owners.

    Only the rows of a snapshot and of this model version are replaced, in one commit a snapshot. What was measured of
    them goes to ``monitoring``, in one commit for all.

    Raises:
        InputError: a figure is beyond a limit that stops; the former scores of that snapshot stay as they were.
    """
    tables, table = workspace.tables, workspace.tables.location("owner_features")
    frame = own_names(tables.read("owner_features"))
    total = 0
    with _Monitor(tables, MONITORING, config) as monitor:
        for day in snapshots or _latest(frame, table):
            with scored_batch(frame.where(F.col(SNAPSHOT) == day), parts, table=table) as batch:
                monitor.look(batch, day, budget=config.scores.budget)
                where = f"{SNAPSHOT} = '{day}' AND model_version = '{parts.model_version}'"
                scores = batch.ranked(config.scores, monitor.moment, run_id())
                tables.overwrite(scores, "scores", where=where, partition_by=(SNAPSHOT,))
                monitor.done(past=not total)
            log("scores", f"{batch.rows} owners of snapshot {day}")
            total += batch.rows
    if tables.in_catalog:
        offer_latest(tables)
    return total


def offer_latest(tables: Tables) -> None:
    """Make the view ``scores_latest`` beside ``scores`` in a catalog: the last scoring run of the last snapshot.

    One run may score several snapshots, or with several models: what is last is one snapshot, model version and run.
    """
    scores, last = tables.location("scores"), "snapshot_date, scored_at, model_version, run_id"
    view = (
        f"CREATE OR REPLACE VIEW {tables.location('scores_latest')} "
        "COMMENT 'The last scoring run of the last snapshot.' AS "
        f"SELECT s.* FROM {scores} s JOIN (SELECT max(struct({last})) AS last FROM {scores}) l "
        "ON s.snapshot_date = l.last.snapshot_date AND s.model_version = l.last.model_version "
        "AND s.run_id = l.last.run_id"
    )
    try:
        tables.spark.sql(view)
    except PySparkException as error:  # scores are written; a schema without the right to make views keeps them
        warn("scores", f"no view {tables.location('scores_latest')}: {cause(error)}")


def score(spark: SparkSession, table: str, model: str, out: str, config: Config, top_k: int | None = None) -> int:
    """Score any table that has the features of a bundle or registered model into ``out``; return the number of rows.

    What was measured of them goes to the table ``<out>_monitoring`` beside it.

    Raises:
        InputError: no such table; a key or a feature is missing, null, duplicated or of another type; ``out`` is
            something else than a former result; a figure is beyond a limit that stops. ``out`` is as it was then.
    """
    check_output(spark, out, ("owner_id", "score", "rank", "model_version"))
    parts = load_model(model)
    contract = Encoder.from_dict(parts.encoder).contract
    roles = [name for name in (contract.id_column, contract.time_column) if name is not None]
    frame = read_table(spark, table, as_text=[contract.id_column, *contract.names], roles=roles)
    tables, monitoring = beside(spark, out, f"_{MONITORING}")
    tables.offer_scratch()
    with (
        _Monitor(tables, monitoring, config) as monitor,
        scored_batch(frame, parts, table=table) as batch,
    ):
        monitor.look(batch, budget=config.scores.budget, top_k=top_k)
        ranked = batch.ranked(config.scores, monitor.moment, run_id(), top_k)
        write_table(ranked, out, escape_formulas=config.scores.escape_formulas)
        monitor.done()
        return batch.rows


class _Monitor:
    """Measures batches, refuses those beyond a limit, and writes all figures in the end.

    Only a limit that the user has set stops a batch. Whatever else goes wrong here is said, and the scores are written.
    """

    def __init__(self, tables: Tables, name: str, config: Config) -> None:
        self.moment = datetime.now(UTC).replace(microsecond=0)
        self._tables, self._name, self._config = tables, name, config
        self._open: Scored | None = None
        self._past: pd.DataFrame | None = None
        self._found: list[Scored] = []

    def __enter__(self) -> _Monitor:
        return self

    def __exit__(self, *_: object) -> None:
        if self._found:
            with self._aside("writing the figures of monitoring"):
                self._tables.append(to_frame(self._tables.spark, self._found), self._name)

    def look(self, batch: Batch, day: date | None = None, *, budget: float, top_k: int | None = None) -> None:
        """Measure a batch, and the list of its best ``budget`` or ``top_k`` rows, before its scores are written.

        Raises:
            InputError: a figure is beyond a limit that stops.
        """
        counted = batch.counts() if self._config.monitoring.enabled else None
        self._open = None
        if counted is None:
            return
        with self._aside("measuring the rows"):
            self._open = self._scored(batch, day, *counted)
            if self._config.monitoring.lift_stop is not None:  # past scores may stop these: they come first
                self._open.measures.extend(self._realised(day))
        if self._open is None:
            return
        with self._aside("estimating what the list holds"):
            k = top_k or max(1, math.ceil(batch.rows * budget))
            self._open.measures.extend(self._estimated(batch, counted[0], k))
        if self._open.refused:
            self._found.append(self._open)
        self._open.refuse()
        _warn_of(self._open.worst, self._tables.location(self._name))

    def _scored(self, batch: Batch, day: date | None, counts: Counts, distribution: Distribution) -> Scored:
        limits, parts = self._config.monitoring, batch.parts
        snapshot = None if day is None else str(day)
        self._past = None
        with self._aside("reading the figures of earlier runs"):
            self._past = earlier(self._tables, self._name)
        honest = after_training(day, distribution.until, _label_days(self._config))
        names = FeatureContract.from_dict(parts.encoder["contract"]).names
        measures = [
            *row_counts(batch.rows, rows_before(self._past, batch.table, snapshot), limits),
            Measure("table", "labels", "after_training", float(honest)),
            *against_training(counts, distribution, names, limits),
        ]
        return Scored(batch.table, snapshot, parts.model_version, run_id(), self.moment, measures)

    def _estimated(self, batch: Batch, counts: Counts, k: int) -> list[Measure]:
        """Estimate what the list holds; nothing of amounts."""
        if counts.chances is None or not self._config.monitoring.estimates or self._open is None:
            return []
        name = " ".join(filter(None, (self._open.snapshot, self._open.model_version)))
        holdout = holdout_of(batch.parts)
        return list(estimated(counts.chances, k, holdout, name, self._past, self._config.monitoring))

    def _realised(self, day: date | None) -> list[Measure]:
        """Measure past scores whose labels have become known."""
        if day is None or self._config.task != "classification":
            return []
        return list(realised(self._tables, self._past, self._config.monitoring))

    def done(self, *, past: bool = False) -> None:
        """Keep what was measured of a batch that is written; with ``past``, past scores are measured now as well."""
        if self._open is None:
            return
        self._found.append(self._open)
        if past and self._config.monitoring.lift_stop is None and self._open.snapshot is not None:
            with self._aside("measuring past scores"):
                found = self._realised(date.fromisoformat(self._open.snapshot[:10]))
                self._open.measures.extend(found)
                _warn_of([one for one in found if one.state != "ok"], self._tables.location(self._name))

    def _aside(self, what: str) -> AbstractContextManager[None]:
        advice = f"see {self._tables.location(self._name)}; --set monitoring.enabled=false does without"
        return side_work("monitoring", what, advice)


def _label_days(config: Config) -> int:
    """Days from a snapshot to the end of its label window."""
    return 0 if config.features is None else config.features.label.gap_days + config.features.label.horizon_days


def _warn_of(worst: Sequence[Measure], where: str) -> None:
    if worst:
        named = "; ".join(in_words(one) for one in worst[:TOLD])
        more = f"; and {len(worst) - TOLD} more" if len(worst) > TOLD else ""
        warn("monitoring", f"{named}{more} (all in {where})")


def _latest(frame: DataFrame, table: str) -> Iterable[date]:
    latest = frame.agg(F.max(SNAPSHOT)).collect()[0][0]
    if latest is None:
        raise InputError(f"table {table}: no rows; expected a snapshot to score; run the stage that writes it first")
    return [latest]


def snapshots_within(workspace: Workspace, wanted: str) -> list[date]:
    """Return the snapshots of ``owner_features`` on a day, or from one day to another (``2026-01-01..2026-03-31``).

    Raises:
        InputError: not a day, or there is no such snapshot.
    """
    first, _, last = wanted.partition("..")
    try:
        low, high = date.fromisoformat(first), date.fromisoformat(last or first)
    except ValueError as error:
        raise InputError(
            f"--snapshot {wanted}: expected a day such as 2026-01-31, or two of them as 2026-01-01..2026-03-31"
        ) from error
    found = workspace.tables.read("owner_features").select("snapshot_date").distinct().collect()
    days = sorted(row[0] for row in found)
    chosen = [day for day in days if low <= day <= high]
    if not chosen:
        have = f"it has {len(days)} from {days[0]} to {days[-1]}" if days else "it has none"
        raise InputError(
            f"--snapshot {wanted}: no such snapshot in {workspace.tables.location('owner_features')}; {have}"
        )
    return chosen
