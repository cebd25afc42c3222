"""What drives the student's scores: mean size of the contributions, and the mean score along a feature."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pyspark.sql import Window
from pyspark.sql import functions as F

from remedi_spark.labels.levels import choose_levels
from remedi_spark.report.explained import WEIGHT
from remedi_spark.samples.schema import FeatureContract
from remedi_spark.scoring.bundle import Bundle, BundleParts
from remedi_spark.scoring.wording import shown

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, Row

LEVELS = 8
"""Levels of a text feature whose mean scores are shown."""


def importance(canonical: DataFrame, parts: BundleParts) -> list[tuple[str, float]]:
    """Return each feature's mean absolute contribution in probability, as a share of the sum, largest first.

    Args:
        canonical: a sample of rows ``f0 … fn`` with what each stands for, ``_weight``; only sums leave the tasks.
        parts: the student.
    """
    shared = canonical.sparkSession.sparkContext.broadcast(parts)

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        bundle: Bundle | None = None
        for batch in batches:
            bundle = bundle or Bundle(shared.value)
            frame = batch.select(bundle.contract.columns).to_pandas()
            sizes = batch.column(WEIGHT).to_numpy() @ np.abs(bundle.explainer.contributions(frame))
            yield pa.RecordBatch.from_pydict({"position": np.arange(len(sizes)), "size": sizes})

    by_task = canonical.mapInArrow(run, "position long, size double")  # type: ignore[arg-type]
    summed = by_task.groupBy("position").agg(F.sum("size"))
    sizes: dict[int, float] = dict(summed.collect())
    total = sum(sizes.values()) or 1.0
    names = Bundle(parts).contract.names
    found = [(names[position], size / total) for position, size in sizes.items()]
    return sorted(found, key=lambda pair: (-pair[1], pair[0]))


def effects(
    rows: DataFrame, contract: FeatureContract, names: Sequence[str], score: str, bins: int = 10
) -> list[dict[str, Any]]:
    """Return, by feature, the mean score and the rows along it: in bins of equal mass, or by its levels.

    Half of the levels are the most frequent ones, half those that move the score most: a level that only a handful of
    owners have may be what matters.

    Two passes over the rows for all features together: one for the edges of the bins, one for the means.
    """
    columns = {name: contract.columns[contract.names.index(name)] for name in names}
    numeric = [name for name in names if contract.features[contract.names.index(name)].kind != "category"]
    wanted = [i / bins for i in range(1, bins)]
    edges = rows.approxQuantile([columns[name] for name in numeric], wanted, 0.01) if numeric else []
    cuts = {name: sorted(set(found)) for name, found in zip(numeric, edges, strict=True)}
    along = F.explode(F.array(*[_place(i, F.col(columns[name]), cuts.get(name)) for i, name in enumerate(names)]))
    long = rows.select(F.col(score).alias("score"), along.alias("at")).select("score", "at.*")
    means = [F.avg("value").alias("value"), F.avg("score").alias("mean"), F.count("*").alias("rows")]
    found = long.where("place IS NOT NULL").groupBy("feature", "place").agg(*means)
    in_all = Window.partitionBy("feature")
    usual = F.sum(F.col("mean") * F.col("rows")).over(in_all) / F.sum("rows").over(in_all)
    moved = found.withColumn("moved", F.col("rows") * F.abs(F.col("mean") - usual))
    kept = choose_levels(moved, ["feature"], "place", "moved", max(bins, LEVELS)).collect()
    curves = [_curve(name, [row for row in kept if row["feature"] == i], cuts) for i, name in enumerate(names)]
    return [_in_words(curve, contract) for curve in curves]


def _in_words(curve: dict[str, Any], contract: FeatureContract) -> dict[str, Any]:
    """Return a curve whose days and moments are written as people do, not as days since 1970."""
    kind = contract.features[contract.names.index(curve["feature"])].kind
    if kind not in ("date", "timestamp"):
        return curve
    return curve | {"values": [shown(value, kind) for value in curve["values"]]}


def _place(feature: int, column: Column, cuts: list[float] | None) -> Column:
    """Say where on its axis a value stands: its bin, or its level; null: nowhere."""
    if cuts is None:
        place, value = F.coalesce(column, F.lit("(missing)")), F.lit(None).cast("double")
    else:
        points = F.array(*[F.lit(cut) for cut in cuts]).cast("array<double>")
        bin_ = F.size(F.filter(points, lambda cut: cut < column)).cast("string")
        place, value = F.when(column.isNotNull(), bin_), column
    return F.struct(F.lit(feature).alias("feature"), place.alias("place"), value.alias("value"))


def _curve(name: str, points: list[Row], cuts: dict[str, list[float]]) -> dict[str, Any]:
    if name in cuts:
        points = sorted(points, key=lambda row: int(row["place"]))
    else:
        points = sorted((row for row in points if row["order"] <= LEVELS), key=lambda row: (-row["rows"], row["place"]))
    return {
        "feature": name,
        "values": [row["value" if name in cuts else "place"] for row in points],
        "mean_score": [row["mean"] for row in points],
        "rows": [row["rows"] for row in points],
    }
