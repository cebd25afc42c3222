"""Score a frame with a bundle on Spark: check, score, count, rank, explain.

The pass that scores also counts: each task ends with one more row, without a key, that holds how its rows are
distributed. So the figures that :mod:`remedi_spark.scoring.monitoring` judges cost no pass of their own. Features stay
beside the scores, so that the rows to explain are found without a join.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
from remedi_spark.spark.ranking import add_rank, not_below
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
        scored: owner_id, snapshot_date, f0 … fn, score; and the tasks' counts, in rows without a key.
        parts: of the bundle.
        held: what keeps the rows until it is closed.
        lasting: whether its frames may be read after that.
    """

    table: str
    rows: int
    scored: DataFrame
    parts: BundleParts
    held: ExitStack
    lasting: bool = False

    @property
    def canonical(self) -> DataFrame:
        """Return owner_id, snapshot_date, f0 … fn."""
        return _rows(self.scored).drop("score")

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
        return _rows(self.scored).select(*KEY, "score")

    def ranked(self, config: ScoresConfig, moment: datetime, run_id: str, top_k: int | None = None) -> DataFrame:
        """Return what the warehouse reads; see :mod:`remedi_spark.scoring.stage`."""
        budget = F.ceil(F.col("rows") * F.lit(config.budget)) if top_k is None else F.lit(top_k)
        ranked = add_rank(self.scores(), "score").withColumn("in_top_k", F.col("rank") <= budget)
        if config.reasons:
            ranked = self._with_reasons(self._keep(ranked), config.reasons)
        else:
            ranked = ranked.withColumn("reasons", F.lit(None).cast(REASONS))
        return published(ranked, self.parts.model_version, moment, run_id)

    def _with_reasons(self, ranked: DataFrame, top: int) -> DataFrame:
        """Add the reasons of the rows in the top K: those rows alone are joined."""
        best = ranked.where("in_top_k")
        reasons = _explained(not_below(_rows(self.scored), "score", best), self.parts, top)
        others = ranked.where("NOT in_top_k").withColumn("reasons", F.lit(None).cast(REASONS))
        return join_rows(best, reasons, "left").unionByName(others)

    def _keep(self, frame: DataFrame) -> DataFrame:
        return self.held.enter_context(kept(frame, on_disk=True, scratch=not self.lasting))

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
        canonical = _canonical(frame, contract, table)
        scored = stack.enter_context(
            kept(_scored(canonical, parts, canonical.columns), on_disk=True, scratch=not lasting)
        )
        rows = check_keys(_rows(scored), table, contract.id_column, contract.time_column)
        return Batch(table, rows, scored, parts, stack.pop_all(), lasting)


def score_canonical(rows: DataFrame, parts: BundleParts) -> DataFrame:
    """Return owner_id, snapshot_date, score of rows that hold the bundle's ``f0 … fn``, unchecked."""
    return _rows(_scored(rows, parts, KEY)).drop(_COUNTS)


def _rows(scored: DataFrame) -> DataFrame:
    """Return the rows that have a key, without their counts."""
    return scored.where(F.col(_COUNTS).isNull()).drop(_COUNTS)


def _canonical(frame: DataFrame, contract: FeatureContract, table: str) -> DataFrame:
    require_column(frame, contract.id_column, "the id", table)
    time = contract.time_column
    if time is not None and time not in frame.columns:
        time = None  # a batch of one moment needs no time column
    return frame.select(
        *key_columns(frame, contract.id_column, time), *contract.select(frame, table=table, text=reads_as_csv(table))
    )


def _scored(rows: DataFrame, parts: BundleParts, carried: Sequence[str]) -> DataFrame:
    """Return the columns ``carried`` and score; at the end of each task's rows one more with its counts."""
    stored = shared(rows.sparkSession, parts)
    names = [*carried, "score", _COUNTS]

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
            columns = [batch.column(name) for name in carried]
            none = pa.nulls(len(scores), pa.binary())
            yield pa.RecordBatch.from_arrays([*columns, pa.array(scores, pa.float64()), none], names)
        if counts:
            empty = [pa.nulls(1, column.type) for column in columns]
            total = pa.array([np.sum(counts, axis=0).tobytes()], pa.binary())
            yield pa.RecordBatch.from_arrays([*empty, pa.nulls(1, pa.float64()), total], names)

    return rows.mapInArrow(run, _schema(rows, carried, f"score double, {_COUNTS} binary"))  # type: ignore[arg-type]


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

    return rows.mapInArrow(run, _schema(rows, KEY, f"reasons {REASONS}"))  # type: ignore[arg-type]


def _schema(rows: DataFrame, carried: Sequence[str], added: str) -> t.StructType:
    columns = [t.StructField(name, rows.schema[name].dataType) for name in carried]
    return t.StructType([*columns, *data_type(added).fields])


def _load(parts: BundleParts) -> Bundle:
    if any(one.kind == "net" for models in parts.students.values() for one in models):
        import torch  # seconds, which trees need not wait for

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
