"""Stage 6: score owners with the student, as the warehouse reads it.

Columns: owner_id, snapshot_date (null without a time), score (calibrated probability), rank (1 = best, ties broken by
a hash of the id), percentile (100 = best), decile (1 = best), in_top_k, reasons (strongest features of the top K rows),
model_version, run_id, scored_at. A score depends on the row's own features alone, never on who else is scored.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
from pyspark import StorageLevel
from pyspark.sql import functions as F
from pyspark.sql import types as t

from remedi_spark.bundle.bundle import Bundle, BundleParts, load_parts
from remedi_spark.columns import KEY
from remedi_spark.config.chain import ScoresConfig
from remedi_spark.data_contract import COMMENTS, NAMES
from remedi_spark.encoding.contract import FeatureContract
from remedi_spark.encoding.encoder import Encoder
from remedi_spark.errors import InputError
from remedi_spark.progress import say
from remedi_spark.sources.checks import check_keys
from remedi_spark.sources.flat import key_columns, require_column
from remedi_spark.spark.joins import join_rows
from remedi_spark.spark.ranking import add_rank
from remedi_spark.spark.tables import is_csv, read_table
from remedi_spark.workspace import Workspace

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import DataFrame, SparkSession

REASONS = "array<struct<feature string, value string, contribution double>>"


def run(workspace: Workspace, config: ScoresConfig, snapshots: Sequence[date] = ()) -> int:
    """Score snapshots of ``owner_features`` (by default the latest) into ``scores``; return the number of owners.

    Only the rows of a snapshot and of this model version are replaced, in one commit a snapshot.
    """
    source = workspace.tables.location("owner_features")
    frame = workspace.tables.read("owner_features")
    parts = load_parts(workspace.bundle)
    total = 0
    for day in snapshots or [frame.agg(F.max("snapshot_date")).collect()[0][0]]:
        scores = score_frame(frame.where(F.col("snapshot_date") == day), parts, config, table=source)
        where = f"snapshot_date = '{day}' AND model_version = '{parts.model_version}'"
        workspace.tables.overwrite(scores, "scores", where=where, partition_by=("snapshot_date",))
        count = workspace.tables.read("scores").where(where).count()
        say("scores", f"{count} owners of snapshot {day}")
        total += count
    return total


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


def score_table(
    spark: SparkSession, table: str, bundle: Path, config: ScoresConfig, top_k: int | None = None
) -> DataFrame:
    """Return the scores of any table that has the bundle's features.

    Raises:
        InputError: no such table, a key or a feature is missing, null, duplicated or of another type.
    """
    parts = load_parts(bundle)
    contract = Encoder.from_dict(parts.encoder).contract
    frame = read_table(spark, table, as_text=contract.names)
    return score_frame(frame, parts, config, table=table, top_k=top_k)


def score_frame(
    frame: DataFrame, parts: BundleParts, config: ScoresConfig, *, table: str, top_k: int | None = None
) -> DataFrame:
    """Check, score, rank and explain the rows of a frame."""
    contract = Encoder.from_dict(parts.encoder).contract
    rows = _canonical(frame, contract, table).persist(StorageLevel.DISK_ONLY)
    check_keys(rows, table, contract.id_column, contract.time_column)
    scored = _map(rows, parts, "score double", _score).persist(StorageLevel.DISK_ONLY)
    budget = F.ceil(F.col("rows") * F.lit(config.budget)) if top_k is None else F.lit(top_k)
    ranked = add_rank(scored, "score").withColumn("in_top_k", F.col("rank") <= budget)
    if config.reasons:
        top = join_rows(rows, ranked.where("in_top_k").select(*KEY, "in_top_k")).drop("in_top_k")
        ranked = join_rows(ranked, _map(top, parts, f"reasons {REASONS}", _explain, config.reasons), "left")
    else:
        ranked = ranked.withColumn("reasons", F.lit(None).cast(REASONS))
    return _finish(ranked, parts.model_version)


def _canonical(frame: DataFrame, contract: FeatureContract, table: str) -> DataFrame:
    require_column(frame, contract.id_column, "the id", table)
    time = contract.time_column
    if time is not None and time not in frame.columns:
        time = None  # a batch of one moment needs no time column
    return frame.select(
        *key_columns(frame, contract.id_column, time), *contract.select(frame, table=table, text=is_csv(table))
    )


def _finish(ranked: DataFrame, model_version: str) -> DataFrame:
    """Return the columns of the contract, with its comments, which Delta stores."""
    moment = datetime.now(UTC).replace(microsecond=0)
    scores = ranked.select(
        *KEY,
        "score",
        "rank",
        (F.lit(100.0) * (F.col("rows") - F.col("rank") + 1) / F.col("rows")).alias("percentile"),
        F.ceil(F.lit(10.0) * F.col("rank") / F.col("rows")).cast("int").alias("decile"),
        "in_top_k",
        "reasons",
        F.lit(model_version).alias("model_version"),
        F.lit(f"{moment:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}").alias("run_id"),
        F.lit(moment).cast("timestamp").alias("scored_at"),
    )
    return scores.select(*[F.col(name).alias(name, metadata={"comment": COMMENTS[name]}) for name in NAMES])


def _map(rows: DataFrame, parts: BundleParts, added: str, compute: Any, *arguments: Any) -> DataFrame:
    """Add what ``compute(bundle, frame, …)`` returns to the keys; the bundle is loaded once a task."""
    shared = rows.sparkSession.sparkContext.broadcast(parts)
    schema = t.StructType([*[rows.schema[name] for name in KEY], *t._parse_datatype_string(added).fields])  # type: ignore[attr-defined]
    name = schema.fieldNames()[-1]

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        bundle: Bundle | None = None
        for batch in batches:
            bundle = bundle or _load(shared.value)
            frame = batch.select(bundle.contract.columns).to_pandas()
            result = compute(bundle, frame, *arguments)
            yield pa.RecordBatch.from_arrays([*[batch.column(key) for key in KEY], result], [*KEY, name])

    return rows.mapInArrow(run, schema)  # type: ignore[arg-type]


def _load(parts: BundleParts) -> Bundle:
    import torch

    torch.set_num_threads(1)
    return Bundle(parts)


def _score(bundle: Bundle, frame: pd.DataFrame) -> pa.Array:
    return pa.array(bundle.score(frame), pa.float64())


def _explain(bundle: Bundle, frame: pd.DataFrame, top: int) -> pa.Array:
    kind = pa.list_(pa.struct([("feature", pa.string()), ("value", pa.string()), ("contribution", pa.float64())]))
    return pa.array([[reason._asdict() for reason in row] for row in bundle.explain(frame, top)], kind)
