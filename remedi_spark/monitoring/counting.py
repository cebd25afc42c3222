"""Distributions on Spark: quantiles inside an aggregate that is made anyway, counts in one pass."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pyspark.sql import functions as F

from remedi_spark.encoding.contract import FeatureContract
from remedi_spark.encoding.encoder import Encoder
from remedi_spark.metrics.drift import stability_edges
from remedi_spark.monitoring.distribution import QUANTILES, Array, Counter, Counts, Distribution, score_bins

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from remedi_spark.metrics.label_scale import ScoreMap

_ACCURACY = 1000
_MARGIN_WIDTH = 0.05


def quantile_columns(contract: FeatureContract) -> list[Column]:
    """Return aggregates ``q<i>``: the quantiles of each number, lowest and highest value included."""
    points = F.array(*[F.lit(i / QUANTILES) for i in range(QUANTILES + 1)])
    return [F.percentile_approx(f"f{i}", points, _ACCURACY).alias(f"q{i}") for i in contract.numbers]


def describe(rows: DataFrame, encoder: Encoder, quantiles: dict[str, Any], until: str | None) -> Distribution:
    """Count training rows over the bins that their quantiles (of :func:`quantile_columns`) give."""
    edges: list[list[float] | None] = [None] * len(encoder.contract.features)
    for i in encoder.contract.numbers:
        edges[i] = stability_edges(quantiles[f"q{i}"] or ()).tolist()
    counts = count_rows(rows, encoder, edges)
    return Distribution(counts.rows, until, edges, [one.tolist() for one in counts.features])


def count_rows(rows: DataFrame, encoder: Encoder, edges: list[list[float] | None]) -> Counts:
    """Count rows under inside names ``f0 … fn`` over bins, in one pass."""
    shared = rows.sparkSession.sparkContext.broadcast((encoder.to_dict(), edges))

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        tree, local_edges = shared.value
        counter = Counter(Encoder.from_dict(tree), local_edges)
        counts = [counter.count(batch.to_pandas()) for batch in batches]
        if counts:
            yield pa.RecordBatch.from_pydict({"counts": [np.sum(counts, axis=0).tobytes()]})

    parts = rows.select(*encoder.contract.columns).mapInArrow(run, "counts binary").collect()  # type: ignore[arg-type]
    return Counter(encoder, edges).split(add_up(row["counts"] for row in parts))


def add_up(parts: Iterable[bytes]) -> Array:
    """Return the sum of vectors that tasks have sent."""
    return np.asarray(np.sum([np.frombuffer(part, dtype=np.float64) for part in parts], axis=0), dtype=np.float64)


def describe_scores(margins: DataFrame, column: str, score_map: ScoreMap) -> dict[str, list[float]]:
    """Return edges and counts of the scores of a margin column; only counts by bin reach the driver."""
    number = F.round(F.col(column) / _MARGIN_WIDTH).cast("double").alias("bin")
    found = margins.groupBy(number).count().toPandas()
    bins, rows = (found[name].to_numpy(dtype=np.float64) for name in ("bin", "count"))
    return score_bins(bins, rows, _MARGIN_WIDTH, lambda values: np.asarray(score_map(values)))
