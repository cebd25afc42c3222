"""Rows that nobody has, made up from training rows, on which a student asks its teacher more than these tell.

Of a training row the teacher says one margin, by models that never saw the row's fold: honest, and noisy. A row that
is put together from two training rows was seen by none, so that all folds' models together say what it is worth, as
they do for a row to score. A student that learns from both kinds follows the teacher closely, as one model on all rows
(Buciluă et al., Model compression, 2006; Fakoor et al., arXiv 2006.14284).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyspark.sql import types as t

from remedi_spark.columns import FOLD, ROW_HASH, WEIGHT
from remedi_spark.ensemble.fuser import scorer
from remedi_spark.ensemble.relative import Relative
from remedi_spark.models.contract import Array
from remedi_spark.models.predict import encoded_rows, margins_of
from remedi_spark.models.predictors import load_predictor
from remedi_spark.samples.arrays import lists, nested_lists
from remedi_spark.samples.folds import BLOCK
from remedi_spark.samples.layout import Layout
from remedi_spark.spark.kept import shared
from remedi_spark.spark.partitions import shape, uniform
from remedi_spark.storage.fitted import Fitted

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

SWAPPED = 0.15
"""Chance of each feature to come from the other row."""
_TASK_ROWS = 8_000
"""Made up in one task, about: a row's other row is one of its task's, and tasks must not depend on the cluster."""


@dataclass(frozen=True)
class Teacher:
    """What says of a row that no fold holds what it is worth.

    Attributes:
        models: base models by name, one a fold.
        comparable: from a base model's name and its margins to comparable scores.
        fuser: reads these.
        relative: how.
    """

    models: Mapping[str, Sequence[Fitted]]
    comparable: Callable[[str, Array], Array]
    fuser: Fitted
    relative: Relative

    def margins(self) -> Callable[[Array, Array], Array]:
        """Load the models; return the function from encoded rows, as in :func:`encoded_rows`, to margins, (rows,)."""
        predictors = {name: [load_predictor(one) for one in folds] for name, folds in self.models.items()}
        fuse = scorer(self.fuser, self.relative)

        def margins(x: Array, targets: Array) -> Array:
            fold = np.full(len(x), -1)
            own = margins_of(x, targets, fold, predictors)
            scores = {name: self.comparable(name, margin) for name, margin in own.items()}
            fused: Array = fuse(pa.RecordBatch.from_pydict({**scores, FOLD: fold}))[0]
            return fused

        return margins


def taught_rows(rows: DataFrame, layout: Layout, teacher: Teacher, wanted: int, known: int, seed: int) -> DataFrame:
    """Return about ``wanted`` rows made up from others, with the teacher's margin.

    Args:
        rows: encoded training rows: ``x``, ``te``, ``block``, ``weight``, ``row_hash``.
        layout: of the encoded rows.
        teacher: says their margins.
        wanted: how many.
        known: how many ``rows`` there are.
        seed: of what is taken from where.

    Returns:
        The same columns, ``fold`` -1, and ``fuser``. The same for the same rows, however they are partitioned.
    """
    copies = max(1, math.ceil(wanted / known))
    share = wanted / (copies * known)
    parents = rows.select(BLOCK, WEIGHT, ROW_HASH, FOLD, "x", "te").where(uniform(ROW_HASH, seed + 77) < share)
    tasks = max(1, round(wanted / _TASK_ROWS))
    stored = shared(rows.sparkSession, teacher)
    schema = t.StructType([
        *[parents.schema[name] for name in parents.columns], t.StructField("fuser", t.DoubleType())
    ])  # fmt: skip

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        found = list(batches)
        if not sum(batch.num_rows for batch in found):
            return
        margins = stored().margins()
        parts = [encoded_rows(batch, layout.fixed, layout.width) for batch in found if batch.num_rows]
        x, targets = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
        table = pa.Table.from_batches(found).select([BLOCK, WEIGHT, ROW_HASH]).combine_chunks()
        hashes = table.column(ROW_HASH).to_numpy()
        for copy in range(copies):
            mixed, encodings = mix(x, targets, layout, np.random.default_rng([seed, copy, abs(int(hashes[0]))]))
            columns = {
                BLOCK: table.column(BLOCK), WEIGHT: table.column(WEIGHT),
                ROW_HASH: pa.array(hashes ^ np.int64((copy + 1) * _MIXED)),
                FOLD: pa.array(np.full(len(x), -1), found[0].schema.field(FOLD).type),
                "x": lists(mixed), "te": nested_lists(encodings), "fuser": margins(mixed, encodings),
            }  # fmt: skip
            yield from pa.table(columns).select(schema.names).combine_chunks().to_batches()

    return shape(parents, tasks).mapInArrow(run, schema)  # type: ignore[arg-type]


_MIXED = 0x5DEECE66D1234567 >> 4
"""Tells the hash of a row from that of its parent."""


def mix(x: Array, targets: Array, layout: Layout, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return rows that take some features from another row each; all slots of a feature move together.

    Args:
        x: fixed slots, (rows, layout.fixed).
        targets: target encodings, (rows, folds + 1, categories).
        layout: of the encoded rows.
        rng: draws the other rows and the features.
    """
    features = [slot.feature for slot in layout.slots]
    other = rng.integers(0, len(x), len(x))
    swap = rng.random((len(x), max(features, default=0) + 1)) < SWAPPED
    of_fixed, of_targets = swap[:, features[: layout.fixed]], swap[:, features[layout.fixed :]]
    mixed = np.where(of_fixed, x[other], x)
    layout.make(mixed)
    return mixed, np.where(of_targets[:, None, :], targets[other], targets)
