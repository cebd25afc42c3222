"""How much of its teacher's ranking a student keeps, as far as that can be told without labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from scipy.special import expit

from remedi_spark.columns import ROW_HASH, WEIGHT
from remedi_spark.maths.ranking import expected_average_precision
from remedi_spark.spark.partitions import shape, uniform

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from remedi_spark.models.contract import Array

LOOKED_AT = 200_000
"""Rows, about, that the rankings are compared on."""


def kept_share(scores: DataFrame, seed: int) -> float:
    """Return the AP that the student's ranking would have if the teacher's probabilities were true, over the teacher's.

    1 without rows.

    Args:
        scores: of rows that neither has seen, which may be of a later time: ``row_hash``, ``weight``, and the margins
            ``student`` and ``fuser``.
        seed: of which rows are looked at, where there are many.
    """
    count = scores.count()
    if not count:
        return 1.0
    looked_at = scores.where(uniform(ROW_HASH, seed) < LOOKED_AT / count) if count > LOOKED_AT else scores

    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        parts = [[one.column(name).to_numpy() for name in ("student", "fuser", WEIGHT)] for one in batches]
        student, teacher, weight = (np.concatenate(column) for column in zip(*parts, strict=True))
        yield pa.RecordBatch.from_pydict({"kept": [_ratio(student, teacher, weight)]})

    one_task = shape(looked_at.select("student", "fuser", WEIGHT, ROW_HASH), 1)
    return float(one_task.mapInArrow(work, "kept double").collect()[0]["kept"])  # type: ignore[arg-type]


def _ratio(student: Array, teacher: Array, weight: Array) -> float:
    probability = expit(teacher)
    one, other = (expected_average_precision(ranked, probability, weight) for ranked in (student, teacher))
    return one / other
