"""Fit the encoder by Spark aggregates and encode tables; only level statistics reach the driver."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
from pyspark.sql import Window
from pyspark.sql import functions as F

from remedi_spark.columns import FOLD, LABEL
from remedi_spark.config.chain import EncodingConfig
from remedi_spark.samples.arrays import lists, nested_lists
from remedi_spark.samples.encoder import NULL_LEVEL, Encoder, Levels
from remedi_spark.samples.schema import FeatureContract
from remedi_spark.spark.kept import shared

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_LATE_LEVELS = 5
"""Late rows that are needed to look for levels that come and go, in rows that a level needs to be kept."""
_ALL_ROWS = -1
"""Stands for a feature with one level, whose counts are those of all rows."""


def fit_encoder(
    rows: DataFrame, contract: FeatureContract, config: EncodingConfig, *, folds: int, binary: bool,
    late: Column | None = None,
) -> Encoder:  # fmt: skip
    """Fit on training rows ``(f0 … fn, label, fold)``, in one query.

    ``late`` tells which rows are the latest: a column whose levels come and go is encoded as one without levels.
    """
    counted = _count_levels(rows, contract.categories, config, folds, F.lit(False) if late is None else late)
    by_feature = {i: part.sort_values("place") for i, part in counted.groupby("feature")}
    passing = passing_features(counted, by_feature[_ALL_ROWS], config)
    none = counted.iloc[:0]
    levels = {i: _levels(none if i in passing else by_feature.get(i, none), folds) for i in contract.categories}
    totals = _levels(by_feature[_ALL_ROWS], folds)
    return Encoder(
        contract, levels, totals.rows[0], totals.sums[0], folds, binary, config.smoothing, config.max_codes, passing,
    )  # fmt: skip


def passing_features(counted: pd.DataFrame, every: pd.DataFrame, config: EncodingConfig) -> dict[int, float]:
    """Return the features whose levels come and go, each with the share of late rows that are lost by it.

    Args:
        counted: kept levels: ``feature``, ``level``, ``total`` rows, ``late`` rows.
        every: one row, the same of all rows.
        config: what a level needs to be kept, and the largest share.
    """
    rows, late = int(every["total"].iloc[0]), int(every["late"].iloc[0])
    if late < _LATE_LEVELS * config.min_rows or late == rows:
        return {}
    early = counted["total"] - counted["late"]
    # How many rows of a level would be early if levels had nothing to do with time: rare levels are lost anyway.
    by_chance = counted["total"] * (1 - late / rows)
    feature = counted["feature"]
    held = counted["late"].where(early >= config.min_rows, 0).groupby(feature).sum() / late
    expected = counted["total"].where(by_chance >= config.min_rows, 0).groupby(feature).sum() / rows
    lost = (expected - held).drop(index=_ALL_ROWS)
    found = zip(lost.index.to_numpy(dtype=int), lost.to_numpy(dtype=float), strict=True)
    return {int(i): round(float(share), 4) for i, share in found if share > config.max_passing}


def _count_levels(
    rows: DataFrame, categories: Sequence[int], config: EncodingConfig, folds: int, late: Column
) -> pd.DataFrame:
    """Count rows and labels by (feature, level, fold), of the levels that are kept; shape (levels, 4 + 2 folds).

    All rows together are one level of the feature :data:`_ALL_ROWS`.
    """
    levels = [(i, F.coalesce(F.col(f"f{i}"), F.lit(NULL_LEVEL))) for i in categories]
    pairs = F.explode(
        F.array(*[F.struct(F.lit(i).alias("feature"), level.alias("level"))
                  for i, level in [(_ALL_ROWS, F.lit(NULL_LEVEL)), *levels]])
    )  # fmt: skip
    mine = [F.col(FOLD) == k for k in range(folds)]
    counted = rows.select(FOLD, LABEL, late.alias("late"), pairs.alias("pair")).groupBy("pair.feature", "pair.level")
    among = F.col(FOLD).between(0, folds - 1)
    by_fold = counted.agg(
        F.count_if(among).alias("total"),
        F.count_if(among & F.col("late")).alias("late"),
        *[F.count_if(one).alias(f"{k}_rows") for k, one in enumerate(mine)],
        *[F.coalesce(F.sum(F.when(one, F.col(LABEL))), F.lit(0.0)).alias(f"{k}_sum") for k, one in enumerate(mine)],
    )
    most_frequent = Window.partitionBy("feature").orderBy(F.desc("total"), "level")
    # A null is nobody's name: it is kept however rare.
    kept_often = (F.col("total") >= config.min_rows) | (F.col("level") == NULL_LEVEL)
    placed = by_fold.withColumn("place", F.row_number().over(most_frequent))
    return placed.where((F.col("place") <= config.max_levels) & kept_often).toPandas()


def _levels(counted: pd.DataFrame, folds: int) -> Levels:
    rows = counted[[f"{k}_rows" for k in range(folds)]].to_numpy(dtype=np.float64)
    sums = counted[[f"{k}_sum" for k in range(folds)]].to_numpy(dtype=np.float64)
    return Levels(tuple(counted["level"]), rows, sums)


def encode(rows: DataFrame, encoder: Encoder) -> DataFrame:
    """Replace ``f0 … fn`` by ``x`` (fixed slots) and ``te`` (one array of target encodings a model fold, then one for
    the model of all folds); a row's ``fold`` below zero marks a row that no model is trained on.
    """
    tree = shared(rows.sparkSession, encoder.to_dict())
    kept = [name for name in rows.columns if name not in set(encoder.contract.columns)]
    schema = rows.select(*kept, F.array(F.lit(0.0)).alias("x"), F.array(F.array(F.lit(0.0))).alias("te")).schema

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        local = Encoder.from_dict(tree())
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
