"""What drives the student's scores: mean size of the contributions, and the mean score along a feature."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pyspark.sql import functions as F

from remedi_spark.bundle.bundle import Bundle, BundleParts
from remedi_spark.bundle.reasons import probability_contributions
from remedi_spark.encoding.contract import FeatureContract

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def importance(canonical: DataFrame, parts: BundleParts) -> list[tuple[str, float]]:
    """Return each feature's mean absolute contribution in probability, as a share of the sum, largest first.

    Args:
        canonical: a sample of rows ``f0 … fn``; only sums leave the tasks.
        parts: the student.
    """
    shared = canonical.sparkSession.sparkContext.broadcast(parts)

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        bundle: Bundle | None = None
        for batch in batches:
            bundle = bundle or Bundle(shared.value)
            frame = batch.select(bundle.contract.columns).to_pandas()
            sizes = np.abs(probability_contributions(bundle, frame)).sum(axis=0)
            yield pa.RecordBatch.from_pydict({"position": np.arange(len(sizes)), "size": sizes})

    by_task = canonical.mapInArrow(run, "position long, size double")  # type: ignore[arg-type]
    summed = by_task.groupBy("position").agg(F.sum("size"))
    sizes: dict[int, float] = dict(summed.collect())
    total = sum(sizes.values()) or 1.0
    names = Bundle(parts).contract.names
    found = [(names[position], size / total) for position, size in sizes.items()]
    return sorted(found, key=lambda pair: (-pair[1], pair[0]))


def effect(rows: DataFrame, contract: FeatureContract, name: str, score: str, bins: int = 10) -> dict[str, Any]:
    """Return the mean score and the rows along a feature: in bins of equal mass, or by level (the most frequent)."""
    position = contract.names.index(name)
    column = contract.columns[position]
    means = [F.avg(score).alias("mean"), F.count("*").alias("rows")]
    if contract.features[position].kind == "category":
        level = F.coalesce(F.col(column), F.lit("(missing)"))
        found = rows.groupBy(level.alias("value")).agg(*means).orderBy(F.desc("rows"), "value").limit(8).collect()
    else:
        known = rows.where(F.col(column).isNotNull())
        cuts = sorted(set(known.approxQuantile(column, [i / bins for i in range(1, bins)], 0.01)))
        points = F.array(*[F.lit(cut) for cut in cuts]) if cuts else F.array().cast("array<double>")
        bin_ = F.size(F.filter(points, lambda cut: cut < F.col(column)))
        found = known.groupBy(bin_.alias("bin")).agg(F.avg(column).alias("value"), *means).orderBy("bin").collect()
    return {
        "feature": name,
        "values": [row["value"] for row in found],
        "mean_score": [row["mean"] for row in found],
        "rows": [row["rows"] for row in found],
    }
