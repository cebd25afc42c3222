"""Fit the encoder by Spark aggregates and encode tables; only level statistics reach the driver."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyspark.sql import Window
from pyspark.sql import functions as F

from remedi_spark.columns import FOLD, LABEL
from remedi_spark.config.chain import EncodingConfig
from remedi_spark.samples.encoder import NULL_LEVEL, Array, Encoder, Levels
from remedi_spark.samples.schema import FeatureContract

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def fit_encoder(
    rows: DataFrame, contract: FeatureContract, config: EncodingConfig, *, folds: int, binary: bool
) -> Encoder:
    """Fit on training rows ``(f0 … fn, label, fold)``."""
    label_rows, label_sums = _by_fold(rows, folds)
    return Encoder(
        contract, _levels(rows, contract, config, folds), label_rows, label_sums, folds, binary,
        config.smoothing, config.max_codes,
    )  # fmt: skip


def _by_fold(rows: DataFrame, folds: int) -> tuple[Array, Array]:
    counts = np.zeros(folds)
    sums = np.zeros(folds)
    for fold, count, total in rows.groupBy(FOLD).agg(F.count("*"), F.sum(LABEL)).collect():
        counts[fold], sums[fold] = count, total
    return counts, sums


def _levels(rows: DataFrame, contract: FeatureContract, config: EncodingConfig, folds: int) -> dict[int, Levels]:
    """Count rows and labels by (feature, level, fold) in one pass over all categorical features."""
    if not contract.categories:
        return {}
    pairs = F.explode(
        F.array(*[F.struct(F.lit(i).alias("feature"), F.coalesce(F.col(f"f{i}"), F.lit(NULL_LEVEL)).alias("level"))
                  for i in contract.categories])
    )  # fmt: skip
    by_fold = (
        rows.select(FOLD, LABEL, pairs.alias("pair"))
        .groupBy("pair.feature", "pair.level")
        .pivot(FOLD, list(range(folds)))
        .agg(F.count("*").alias("rows"), F.sum(LABEL).alias("sum"))
        .na.fill(0)
    )
    total = sum((F.col(f"{k}_rows") for k in range(folds)), F.lit(0))
    most_frequent = Window.partitionBy("feature").orderBy(F.desc("total"), "level")
    # A null is nobody's name: it is kept however rare.
    kept_often = (F.col("total") >= config.min_rows) | (F.col("level") == NULL_LEVEL)
    kept = (
        by_fold.withColumn("total", total)
        .withColumn("place", F.row_number().over(most_frequent))
        .where((F.col("place") <= config.max_levels) & kept_often)
        .toPandas()
    )
    levels: dict[int, Levels] = {}
    for i in contract.categories:
        part = kept[kept["feature"] == i].sort_values("place")
        counts = part[[f"{k}_rows" for k in range(folds)]].to_numpy(dtype=np.float64)
        sums = part[[f"{k}_sum" for k in range(folds)]].to_numpy(dtype=np.float64)
        levels[i] = Levels(tuple(part["level"]), counts, sums)
    return levels


def encode(rows: DataFrame, encoder: Encoder) -> DataFrame:
    """Replace ``f0 … fn`` by ``x`` (fixed slots) and ``te`` (one array of target encodings a model fold, then one for
    the model of all folds); a row's ``fold`` below zero marks a row that no model is trained on.
    """
    spark = rows.sparkSession
    shared = spark.sparkContext.broadcast(encoder.to_dict())
    kept = [name for name in rows.columns if name not in set(encoder.contract.columns)]
    schema = rows.select(*kept, F.array(F.lit(0.0)).alias("x"), F.array(F.array(F.lit(0.0))).alias("te")).schema

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        local = Encoder.from_dict(shared.value)
        for batch in batches:
            yield _encode_batch(batch, local, kept)

    return rows.mapInArrow(run, schema)  # type: ignore[arg-type]


def _encode_batch(batch: pa.RecordBatch, encoder: Encoder, kept: list[str]) -> pa.RecordBatch:
    frame = batch.select(encoder.contract.columns).to_pandas()
    positions = encoder.positions(frame)
    fixed = encoder.fixed(frame, positions)
    own = batch.column(FOLD).to_numpy(zero_copy_only=False)
    variants: list[int | None] = [*range(encoder.folds), None]
    width = len(encoder.contract.categories)
    if width:
        targets = np.stack([encoder.targets(positions, k, own) for k in variants], axis=1)
    else:
        targets = np.empty((len(frame), len(variants), 0))
    columns = [batch.column(name) for name in kept]
    return pa.RecordBatch.from_arrays([*columns, lists(fixed), nested_lists(targets)], [*kept, "x", "te"])


def lists(values: Array) -> pa.ListArray:
    """Return a list column from an array of shape (rows, width), without touching single rows."""
    rows, width = values.shape
    offsets = np.arange(rows + 1, dtype=np.int32) * width
    return pa.ListArray.from_arrays(offsets, np.ascontiguousarray(values, dtype=np.float64).ravel())


def nested_lists(values: Array) -> pa.ListArray:
    """Return a list-of-lists column from an array of shape (rows, variants, width)."""
    rows, variants, width = values.shape
    inner = lists(values.reshape(rows * variants, width))
    return pa.ListArray.from_arrays(np.arange(rows + 1, dtype=np.int32) * variants, inner)


def matrix(column: pa.Array, width: int) -> Array:
    """Return a list column as an array of shape (rows, width)."""
    flat = column.flatten().to_numpy(zero_copy_only=False)
    return np.asarray(flat, dtype=np.float64).reshape(len(column), width)
