"""Stage 6: score owners with the student, as the warehouse reads it.

Columns: owner_id, snapshot_date (null without a time), score (calibrated probability, or the predicted amount), rank
(1 = best, ties broken by a hash of the id), percentile (100 = best), decile (1 = best), in_top_k, reasons (strongest
features of the top K rows), model_version, run_id, scored_at. A score depends on the row's own features alone, never on
who else is scored.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING

from pyspark.errors import PySparkException
from pyspark.sql import functions as F

from remedi_spark.columns import SNAPSHOT
from remedi_spark.config import Config
from remedi_spark.errors import InputError, cause
from remedi_spark.progress import log, run_id, warn
from remedi_spark.samples.encoder import Encoder
from remedi_spark.scoring.batch import scored_batch
from remedi_spark.scoring.bundle import BundleParts
from remedi_spark.scoring.monitoring.history import MONITORING
from remedi_spark.scoring.monitoring.monitor import Monitor
from remedi_spark.scoring.open_model import load_model
from remedi_spark.spans import count_rows
from remedi_spark.storage.outputs import beside, check_output, write_table
from remedi_spark.storage.own_names import own_names
from remedi_spark.storage.tables import Tables, read_table
from remedi_spark.storage.workspace import Workspace

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


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
    with Monitor(tables, MONITORING, config, _feeds(frame)) as monitor:
        for day in snapshots or latest_snapshot(frame, table):
            with scored_batch(frame.where(F.col(SNAPSHOT) == day), parts, table=table) as batch:
                monitor.look(batch, day, budget=config.scores.budget)
                where = f"{SNAPSHOT} = '{day}' AND model_version = '{parts.model_version}'"
                scores = batch.ranked(config.scores, monitor.moment, run_id())
                tables.overwrite(scores, "scores", where=where, partition_by=(SNAPSHOT,))
                monitor.done(past=not total)
            log("scores", f"{batch.rows} owners of snapshot {day}")
            total += batch.rows
    count_rows(total)
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
    log("scores", f"{table} by model {parts.model_version}")
    frame = read_owners(spark, table, parts)
    tables, monitoring = beside(spark, out, f"_{MONITORING}")
    tables.offer_scratch()
    with (
        Monitor(tables, monitoring, config) as monitor,
        scored_batch(frame, parts, table=table) as batch,
    ):
        monitor.look(batch, budget=config.scores.budget, top_k=top_k)
        log("scores", f"{batch.rows} owners scored; ranks and reasons follow")
        ranked = batch.ranked(config.scores, monitor.moment, run_id(), top_k)
        write_table(ranked, out, escape_formulas=config.scores.escape_formulas)
        monitor.done()
        return batch.rows


def read_owners(spark: SparkSession, table: str, parts: BundleParts) -> DataFrame:
    """Return any table that a bundle is to score, as the user calls its columns."""
    contract = Encoder.from_dict(parts.encoder).contract
    roles = [name for name in (contract.id_column, contract.time_column) if name is not None]
    return read_table(spark, table, as_text=[contract.id_column, *contract.names], roles=roles)


def _feeds(frame: DataFrame) -> dict[str, str]:
    """Return the source of each feature, as the comments of its columns name it."""
    comments = {field.name: str((field.metadata or {}).get("comment", "")) for field in frame.schema.fields}
    return {name: text.rpartition("source: ")[2] for name, text in comments.items() if "source: " in text}


def latest_snapshot(frame: DataFrame, table: str) -> Sequence[date]:
    """Return the last snapshot of ``owner_features``, alone.

    Raises:
        InputError: it has no rows.
    """
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
