"""Distributions on Spark: quantiles, then counts by the tasks themselves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyspark.sql import functions as F

from remedi_spark.maths.drift import stability_edges
from remedi_spark.samples.encoder import Encoder
from remedi_spark.scoring.monitoring.distribution import QUANTILES, Array, Counter, Counts, Distribution
from remedi_spark.spark.kept import shared

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


_ACCURACY = 1000


def describe(rows: DataFrame, encoder: Encoder, until: str | None) -> Distribution:
    """Count training rows ``f0 … fn`` over bins between the quantiles of each number: two passes over the rows."""
    numbers = encoder.contract.numbers
    points = [i / QUANTILES for i in range(QUANTILES + 1)]
    quantiles = rows.approxQuantile([f"f{i}" for i in numbers], points, 1 / _ACCURACY) if numbers else []
    edges: list[list[float] | None] = [None] * len(encoder.contract.features)
    for i, found in zip(numbers, quantiles, strict=True):
        edges[i] = stability_edges(found).tolist()
    counts = count_rows(rows, encoder, edges)
    return Distribution(counts.rows, until, edges, [one.tolist() for one in counts.features])


def count_rows(rows: DataFrame, encoder: Encoder, edges: list[list[float] | None]) -> Counts:
    """Count rows under inside names ``f0 … fn`` over bins, in one pass."""
    sent = shared(rows.sparkSession, (encoder.to_dict(), edges))

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        tree, local_edges = sent()
        counter = Counter(Encoder.from_dict(tree), local_edges)
        counts = [counter.count(batch.to_pandas()) for batch in batches]
        if counts:
            yield pa.RecordBatch.from_pydict({"counts": [np.sum(counts, axis=0).tobytes()]})

    parts = rows.select(*encoder.contract.columns).mapInArrow(run, "counts binary").collect()  # type: ignore[arg-type]
    return Counter(encoder, edges).split(add_up(row["counts"] for row in parts))


def add_up(parts: Iterable[bytes]) -> Array:
    """Return the sum of vectors that tasks have sent."""
    return np.asarray(np.sum([np.frombuffer(part, dtype=np.float64) for part in parts], axis=0), dtype=np.float64)


def describe_scores(scored: DataFrame) -> dict[str, list[float]]:
    """Return edges and counts of the column ``score``, as :class:`Counter` counts it; only sums reach the driver."""
    points = F.array(*[F.lit(i / QUANTILES) for i in range(QUANTILES + 1)])
    edges = stability_edges(scored.agg(F.percentile_approx("score", points, _ACCURACY)).collect()[0][0])
    above = [F.sum((F.col("score") > F.lit(float(edge))).cast("long")) for edge in edges]
    found = scored.agg(F.count("*"), *above).collect()[0]
    counts = -np.diff([*found, 0])
    return {"score_edges": edges.tolist(), "score_counts": [*counts.astype(float).tolist(), 0.0]}
