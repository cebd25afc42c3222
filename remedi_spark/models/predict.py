"""All base models over all rows in one native pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyspark.sql import types as t

from remedi_spark.columns import FOLD
from remedi_spark.models.contract import Array, Predictor
from remedi_spark.models.predictors import load_predictor
from remedi_spark.samples.encoder_fit import matrix
from remedi_spark.samples.layout import Layout
from remedi_spark.spark.kept import shared
from remedi_spark.storage.fitted import Fitted

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def score_by_fold(rows: DataFrame, models: dict[str, Sequence[Fitted]], layout: Layout) -> DataFrame:
    """Replace ``x`` and ``te`` by one margin column a model.

    A row with fold k >= 0 is scored by the models that left fold k out; a row with fold -1, which no model saw, gets
    the mean margin of all of them.
    """
    sent = shared(rows.sparkSession, {name: list(folds) for name, folds in models.items()})
    fixed, width = layout.fixed, layout.width
    kept = [field for field in rows.schema.fields if field.name not in ("x", "te")]
    names = [field.name for field in kept]
    schema = t.StructType([*kept, *[t.StructField(name, t.DoubleType()) for name in models]])

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        predictors: dict[str, list[Predictor]] = {}
        for batch in batches:
            if not predictors:
                predictors = {name: [load_predictor(one) for one in folds] for name, folds in sent().items()}
            margins = _margins(batch, predictors, fixed, width)
            columns = [batch.column(name) for name in names] + [pa.array(margins[name]) for name in predictors]
            yield pa.RecordBatch.from_arrays(columns, [*names, *predictors])

    return rows.mapInArrow(run, schema)  # type: ignore[arg-type]


def _margins(batch: pa.RecordBatch, predictors: dict[str, list[Predictor]], fixed: int, width: int) -> dict[str, Array]:
    x = matrix(batch.column("x"), fixed)
    folds = next(len(models) for models in predictors.values())
    targets = matrix(batch.column("te").flatten(), width - fixed).reshape(len(x), folds + 1, width - fixed)
    fold = batch.column(FOLD).to_numpy(zero_copy_only=False)
    margins = {name: np.zeros(len(x)) for name in predictors}
    for k in range(folds):
        mine = np.flatnonzero((fold == k) | (fold < 0))
        if not len(mine):
            continue
        share = np.where(fold[mine] < 0, 1 / folds, 1.0)
        rows = np.hstack([x[mine], targets[mine, k]])
        for name, models in predictors.items():
            margins[name][mine] += share * models[k](rows)
    return margins
