"""Stage 6: score owners with the student, as the warehouse reads it.

Columns: owner_id, snapshot_date (null without a time), score (calibrated probability, or the predicted amount), rank
(1 = best, ties broken by a hash of the id), percentile (100 = best), decile (1 = best), in_top_k, reasons (strongest
features of the top K rows), model_version, run_id, scored_at. A score depends on the row's own features alone, never on
who else is scored.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from pyspark.errors import PySparkException
from pyspark.sql import functions as F

from remedi_spark.bundle.bundle import BundleParts
from remedi_spark.columns import SNAPSHOT
from remedi_spark.config import Config
from remedi_spark.encoding.contract import FeatureContract
from remedi_spark.encoding.encoder import Encoder
from remedi_spark.errors import InputError, cause
from remedi_spark.monitoring.history import MONITORING, after_training, earlier, realised, rows_before, to_frame
from remedi_spark.monitoring.measures import Measure, Scored, against_training, row_counts, tell
from remedi_spark.progress import run_id, say, warn
from remedi_spark.spark.outputs import beside, check_output, write_table
from remedi_spark.spark.own_names import own_names
from remedi_spark.spark.tables import Tables, read_table
from remedi_spark.stages.scoring import Batch, scored_batch
from remedi_spark.tracking.registry import load_model
from remedi_spark.workspace import Workspace

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

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
                monitor.look(batch, day, first=not total)
                where = f"{SNAPSHOT} = '{day}' AND model_version = '{parts.model_version}'"
                scores = batch.ranked(config.scores, monitor.moment, run_id())
                tables.overwrite(scores, "scores", where=where, partition_by=(SNAPSHOT,))
                monitor.done()
            say("scores", f"{batch.rows} owners of snapshot {day}")
            total += batch.rows
    if tables.in_catalog:
        offer_latest(tables)
    return total


def offer_latest(tables: Tables) -> None:
    """Make the view ``scores_latest`` beside ``scores`` in a catalog: the last run of the last snapshot."""
    scores, last = tables.location("scores"), "snapshot_date, scored_at, run_id"
    view = (
        f"CREATE OR REPLACE VIEW {tables.location('scores_latest')} "
        "COMMENT 'The last scoring run of the last snapshot.' AS "
        f"SELECT * FROM {scores} WHERE run_id = (SELECT max(struct({last})).run_id FROM {scores}) "
        f"AND snapshot_date = (SELECT max(snapshot_date) FROM {scores})"
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
    frame = read_table(spark, table, as_text=Encoder.from_dict(parts.encoder).contract.names)
    with (
        _Monitor(*beside(spark, out, f"_{MONITORING}"), config) as monitor,
        scored_batch(frame, parts, table=table) as batch,
    ):
        monitor.look(batch)
        write_table(batch.ranked(config.scores, monitor.moment, run_id(), top_k), out)
        monitor.done()
        return batch.rows


class _Monitor:
    """Measures batches, refuses those beyond a limit, and writes all figures in the end."""

    def __init__(self, tables: Tables, name: str, config: Config) -> None:
        self.moment = datetime.now(UTC).replace(microsecond=0)
        self._tables, self._name, self._config = tables, name, config
        self._open: Scored | None = None
        self._found: list[Scored] = []

    def __enter__(self) -> _Monitor:
        return self

    def __exit__(self, *_: object) -> None:
        if self._found:
            self._tables.append(to_frame(self._tables.spark, self._found), self._name)

    def look(self, batch: Batch, day: date | None = None, *, first: bool = True) -> None:
        """Measure a batch; with ``first``, past scores whose labels have become known as well.

        Raises:
            InputError: a figure is beyond a limit that stops.
        """
        counted = batch.counts() if self._config.monitoring.enabled else None
        if counted is None:
            return
        counts, distribution = counted
        limits, parts = self._config.monitoring, batch.parts
        snapshot = None if day is None else str(day)
        past = earlier(self._tables, self._name)
        honest = after_training(day, distribution.until, _label_days(self._config))
        names = FeatureContract.from_dict(parts.encoder["contract"]).names
        judge_past = first and day is not None and self._config.task == "classification"
        measures = [
            *row_counts(batch.rows, rows_before(past, batch.table, snapshot), limits),
            Measure("table", "labels", "after_training", float(honest)),
            *against_training(counts, distribution, names, limits),
            *(realised(self._tables, past, limits) if judge_past else ()),
        ]
        self._open = Scored(batch.table, snapshot, parts.model_version, run_id(), self.moment, measures)
        if self._open.refused:
            self.done()
        self._open.refuse()
        _tell(self._open.worst, self._tables.location(self._name))

    def done(self) -> None:
        """Keep what was measured: the batch is written, or refused."""
        self._found += [self._open] if self._open else []


def _label_days(config: Config) -> int:
    """Days from a snapshot to the end of its label window."""
    return 0 if config.features is None else config.features.label.gap_days + config.features.label.horizon_days


def _tell(worst: Sequence[Measure], where: str) -> None:
    if worst:
        named = "; ".join(tell(one) for one in worst[:TOLD])
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
