"""All base models over all rows in one native pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyspark.sql import types as t

from remedi_spark.columns import FOLD
from remedi_spark.models.contract import Array, Predictor
from remedi_spark.models.predictors import load_predictor
from remedi_spark.samples.arrays import matrix
from remedi_spark.samples.layout import Layout
from remedi_spark.spark.kept import shared
from remedi_spark.storage.fitted import Fitted

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def score_by_fold(rows: DataFrame, models: Mapping[str, Sequence[Fitted]], layout: Layout) -> DataFrame:
    """Replace ``x`` and ``te`` by one margin column a model.

    A row with fold k >= 0 is scored by the models that left fold k out; a row with fold -1, which no model saw, gets
    the mean margin of all of them. A name with one model, which left no fold out, scores every row by that.
    """
    fitted = shared(rows.sparkSession, {name: list(folds) for name, folds in models.items()})
    fixed, width = layout.fixed, layout.width
    kept = [field for field in rows.schema.fields if field.name not in ("x", "te")]
    names = [field.name for field in kept]
    schema = t.StructType([*kept, *[t.StructField(name, t.DoubleType()) for name in models]])

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        predictors: dict[str, list[Predictor]] = {}
        for batch in batches:
            if not predictors:
                predictors = {name: [load_predictor(one) for one in folds] for name, folds in fitted().items()}
            margins = margins_of(*encoded_rows(batch, fixed, width), predictors)
            columns = [batch.column(name) for name in names] + [pa.array(margins[name]) for name in predictors]
            yield pa.RecordBatch.from_arrays(columns, [*names, *predictors])

    return rows.mapInArrow(run, schema)  # type: ignore[arg-type]


def encoded_rows(batch: pa.RecordBatch, fixed: int, width: int) -> tuple[Array, Array, Array]:
    """Return a batch's fixed slots, (rows, fixed), target encodings, (rows, folds + 1, width - fixed), and folds."""
    x, te = matrix(batch.column("x"), fixed), batch.column("te")
    variants = len(te.value_lengths()) and int(te.value_lengths()[0].as_py())
    targets = matrix(te.flatten(), width - fixed).reshape(len(x), variants, width - fixed)
    return x, targets, batch.column(FOLD).to_numpy(zero_copy_only=False)


def margins_of(
    x: Array, targets: Array, fold: Array, predictors: Mapping[str, Sequence[Predictor]]
) -> dict[str, Array]:  # fmt: skip
    """Return a margin a row of every name, as :func:`score_by_fold` says.

    Args:
        x: fixed slots, (rows, fixed).
        targets: target encodings without each fold, and last those without none, (rows, folds + 1, categories).
        fold: of each row, (rows,).
        predictors: by name, one a fold, or one that left no fold out.
    """
    folds = targets.shape[1] - 1
    margins = {name: np.zeros(len(x)) for name in predictors}
    apart = {name: models for name, models in predictors.items() if len(models) == folds}
    if whole := {name: models[0] for name, models in predictors.items() if name not in apart}:
        rows = np.hstack([x, targets[:, -1]])
        margins |= {name: model(rows) for name, model in whole.items()}
    for k in range(folds if apart else 0):
        mine = np.flatnonzero((fold == k) | (fold < 0))
        if not len(mine):
            continue
        share = np.where(fold[mine] < 0, 1 / folds, 1.0)
        rows = np.hstack([x[mine], targets[mine, k]])
        for name, models in apart.items():
            margins[name][mine] += share * models[k](rows)
    return margins
