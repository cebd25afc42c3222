"""Score a frame with a bundle on Spark: check, score, count, rank, explain.

The pass that scores also counts: each task ends with one more row, without a key, that holds how its rows are
distributed. So the figures that :mod:`remedi_spark.scoring.monitoring` judges cost no pass of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyspark.sql import functions as F
from pyspark.sql import types as t

from remedi_spark.columns import KEY
from remedi_spark.config.chain import ScoresConfig
from remedi_spark.samples.checks import check_keys
from remedi_spark.samples.encoder import Encoder
from remedi_spark.samples.flat import key_columns, require_column
from remedi_spark.samples.schema import FeatureContract
from remedi_spark.scoring.bundle import Bundle, BundleParts
from remedi_spark.scoring.monitoring.counting import add_up
from remedi_spark.scoring.monitoring.distribution import Counter, Counts, Distribution
from remedi_spark.scoring.scores_schema import COMMENTS, NAMES
from remedi_spark.spark.joins import join_rows
from remedi_spark.spark.kept import kept, shared
from remedi_spark.spark.ranking import add_rank
from remedi_spark.spark.schemas import data_type
from remedi_spark.storage.tables import reads_as_csv

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

REASONS = "array<struct<feature string, value string, contribution double, text string>>"
_COUNTS = "counts"


@dataclass(frozen=True)
class Batch:
    """Checked and scored rows, kept on the executors' disks.

    Attributes:
        table: their name, for messages.
        rows: how many there are.
        scored: owner_id, snapshot_date, score; and the tasks' counts, in rows without a key.
        canonical: owner_id, snapshot_date, f0 … fn.
        parts: of the bundle.
        held: what keeps the rows until it is closed.
    """

    table: str
    rows: int
    scored: DataFrame
    canonical: DataFrame
    parts: BundleParts
    held: ExitStack

    def counts(self) -> tuple[Counts, Distribution] | None:
        """Return how the rows are distributed, and how the training rows were; None when the bundle does not know."""
        if self.parts.distribution is None:
            return None
        distribution = Distribution.from_dict(self.parts.distribution)
        found = self.scored.where(F.col(_COUNTS).isNotNull()).select(_COUNTS).collect()
        counter = Counter(
            Encoder.from_dict(self.parts.encoder), distribution.edges, distribution.score_edges,
            chances=self.parts.binary,
        )  # fmt: skip
        return counter.split(add_up(row[_COUNTS] for row in found)), distribution

    def scores(self) -> DataFrame:
        """Return owner_id, snapshot_date, score."""
        return self.scored.where(F.col(_COUNTS).isNull()).drop(_COUNTS)

    def ranked(self, config: ScoresConfig, moment: datetime, run_id: str, top_k: int | None = None) -> DataFrame:
        """Return what the warehouse reads; see :mod:`remedi_spark.scoring.stage`."""
        budget = F.ceil(F.col("rows") * F.lit(config.budget)) if top_k is None else F.lit(top_k)
        ranked = add_rank(self.scores(), "score").withColumn("in_top_k", F.col("rank") <= budget)
        if config.reasons:
            top = join_rows(self.canonical, ranked.where("in_top_k").select(*KEY, "score"))
            ranked = join_rows(ranked, _explained(top, self.parts, config.reasons), "left")
        else:
            ranked = ranked.withColumn("reasons", F.lit(None).cast(REASONS))
        return published(ranked, self.parts.model_version, moment, run_id)

    def free(self) -> None:
        """Let the executors forget the rows."""
        self.held.close()


def published(ranked: DataFrame, model_version: str, moment: datetime, run_id: str) -> DataFrame:
    """Return the columns of the data contract, with its comments, which Delta stores."""
    scores = ranked.select(
        *KEY,
        "score",
        "rank",
        (F.lit(100.0) * (F.col("rows") - F.col("rank") + 1) / F.col("rows")).alias("percentile"),
        # In whole numbers: the best of any batch is in the first tenth, and no rounding moves an edge.
        (F.floor((F.col("rank") - 1) * 10 / F.col("rows")) + 1).cast("int").alias("decile"),
        "in_top_k",
        "reasons",
        F.lit(model_version).alias("model_version"),
        F.lit(run_id).alias("run_id"),
        F.lit(moment).cast("timestamp").alias("scored_at"),
    )
    return scores.select(*[F.col(name).alias(name, metadata={"comment": COMMENTS[name]}) for name in NAMES])


@contextmanager
def scored_batch(frame: DataFrame, parts: BundleParts, *, table: str) -> Iterator[Batch]:
    """Check and score the rows of a frame as :func:`open_batch` does; they are freed in the end."""
    batch = open_batch(frame, parts, table=table)
    try:
        yield batch
    finally:
        batch.free()


def open_batch(frame: DataFrame, parts: BundleParts, *, table: str, lasting: bool = False) -> Batch:
    """Check the rows of a frame and plan their scores.

    Args:
        frame: what to score.
        parts: of the bundle.
        table: its name, for messages.
        lasting: whether its frames may be read after it is freed.

    Raises:
        InputError: a key or a feature is missing, null, duplicated or of another type than in training.
    """
    contract = Encoder.from_dict(parts.encoder).contract
    with ExitStack() as stack:
        canonical = stack.enter_context(kept(_canonical(frame, contract, table), on_disk=True, scratch=not lasting))
        rows = check_keys(canonical, table, contract.id_column, contract.time_column)
        scored = stack.enter_context(kept(_scored(canonical, parts), on_disk=True, scratch=not lasting))
        return Batch(table, rows, scored, canonical, parts, stack.pop_all())


def score_canonical(rows: DataFrame, parts: BundleParts) -> DataFrame:
    """Return owner_id, snapshot_date, score of rows that hold the bundle's ``f0 … fn``, unchecked."""
    return _scored(rows, parts).where(F.col(_COUNTS).isNull()).drop(_COUNTS)


def _canonical(frame: DataFrame, contract: FeatureContract, table: str) -> DataFrame:
    require_column(frame, contract.id_column, "the id", table)
    time = contract.time_column
    if time is not None and time not in frame.columns:
        time = None  # a batch of one moment needs no time column
    return frame.select(
        *key_columns(frame, contract.id_column, time), *contract.select(frame, table=table, text=reads_as_csv(table))
    )


def _scored(rows: DataFrame, parts: BundleParts) -> DataFrame:
    """Return keys and score; at the end of each task's rows one more with its counts."""
    stored = shared(rows.sparkSession, parts)
    schema = _schema(rows, f"score double, {_COUNTS} binary")

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        bundle: Bundle | None = None
        counter: Counter | None = None
        counts: list[Any] = []
        for batch in batches:
            bundle = bundle or _load(stored())
            counter = counter or _counter(bundle)
            frame = batch.select(bundle.contract.columns).to_pandas()
            scores = bundle.score(frame)
            if counter is not None:
                counts.append(counter.count(frame, scores))
            keys = [batch.column(key) for key in KEY]
            none = pa.nulls(len(scores), pa.binary())
            yield pa.RecordBatch.from_arrays([*keys, pa.array(scores, pa.float64()), none], [*KEY, "score", _COUNTS])
        if counts:
            empty = [pa.nulls(1, key.type) for key in keys]
            total = pa.array([np.sum(counts, axis=0).tobytes()], pa.binary())
            yield pa.RecordBatch.from_arrays([*empty, pa.nulls(1, pa.float64()), total], [*KEY, "score", _COUNTS])

    return rows.mapInArrow(run, schema)  # type: ignore[arg-type]


def _explained(rows: DataFrame, parts: BundleParts, top: int) -> DataFrame:
    """Return keys and reasons of rows with their scores."""
    stored = shared(rows.sparkSession, parts)

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        bundle: Bundle | None = None
        for batch in batches:
            bundle = bundle or _load(stored())
            frame = batch.select(bundle.contract.columns).to_pandas()
            keys, scores = [batch.column(key) for key in KEY], batch.column("score").to_numpy()
            yield pa.RecordBatch.from_arrays([*keys, _reasons(bundle, frame, top, scores)], [*KEY, "reasons"])

    return rows.mapInArrow(run, _schema(rows, f"reasons {REASONS}"))  # type: ignore[arg-type]


def _schema(rows: DataFrame, added: str) -> t.StructType:
    keys = [t.StructField(name, rows.schema[name].dataType) for name in KEY]
    return t.StructType([*keys, *data_type(added).fields])


def _load(parts: BundleParts) -> Bundle:
    import torch

    torch.set_num_threads(1)
    return Bundle(parts)


def _counter(bundle: Bundle) -> Counter | None:
    if bundle.parts.distribution is None:
        return None
    distribution = Distribution.from_dict(bundle.parts.distribution)
    return Counter(bundle.encoder, distribution.edges, distribution.score_edges, chances=bundle.parts.binary)


def _reasons(bundle: Bundle, frame: pd.DataFrame, top: int, scores: Any) -> pa.Array:
    text = pa.string()
    fields = [("feature", text), ("value", text), ("contribution", pa.float64()), ("text", text)]
    kind = pa.list_(pa.struct(fields))
    return pa.array([[reason._asdict() for reason in row] for row in bundle.explain(frame, top, scores)], kind)
