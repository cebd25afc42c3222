"""What drives the student's scores: mean size of the contributions, and the mean score along a feature."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyspark.sql import Window
from pyspark.sql import functions as F

from remedi_spark.columns import OWNER
from remedi_spark.labels.levels import choose_levels
from remedi_spark.models.contract import Array
from remedi_spark.report.explained import WEIGHT
from remedi_spark.report.page.model import Effect, Explained, FeatureImportance
from remedi_spark.samples.schema import FeatureContract, Kind
from remedi_spark.scoring.bundle import Bundle, BundleParts
from remedi_spark.scoring.wording import shown
from remedi_spark.spark.kept import shared

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, Row

LEVELS = 8
"""Levels of a text feature whose mean scores are shown."""
_EXPLAINED = -1
"""In the place of a feature's position: the row counts the explained ones."""


def importance(canonical: DataFrame, parts: BundleParts) -> tuple[list[FeatureImportance], Explained]:
    """Return what drives the scores of a sample, strongest first, and how many rows and owners it has.

    Args:
        canonical: rows of the sample: owner_id, ``f0 … fn``, and what each stands for, ``_weight``; only sums and how
            many owners there are leave the tasks.
        parts: the student.
    """
    stored = shared(canonical.sparkSession, parts)

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        bundle: Bundle | None = None
        for batch in batches:
            bundle = bundle or Bundle(stored())
            frame = batch.select(bundle.contract.columns).to_pandas()
            sizes = batch.column(WEIGHT).to_numpy() @ np.abs(bundle.explainer.contributions(frame))
            yield _parts(sizes, batch.column(OWNER))

    hashed = canonical.withColumn(OWNER, F.xxhash64(OWNER))
    by_task = hashed.mapInArrow(run, f"position long, size double, {OWNER} long")  # type: ignore[arg-type]
    owners = F.size(F.collect_set(OWNER))
    summed = by_task.groupBy("position").agg(F.sum("size"), owners).collect()
    sizes: dict[int, float] = {position: size for position, size, _ in summed}
    explained = next(((int(size), many) for position, size, many in summed if position == _EXPLAINED), (0, 0))
    sizes.pop(_EXPLAINED, None)
    return _shares(sizes, Bundle(parts).contract.names), Explained(rows=explained[0], owners=explained[1])


def _parts(sizes: Array, owners: pa.Array) -> pa.RecordBatch:
    """Return a row a feature with its summed contributions, and a row an explained one with its owner."""
    rows, features = len(owners), len(sizes)
    return pa.RecordBatch.from_pydict(
        {
            "position": np.concatenate([np.arange(features), np.full(rows, _EXPLAINED)]),
            "size": np.concatenate([sizes, np.ones(rows)]),
            OWNER: pa.concat_arrays([pa.nulls(features, pa.int64()), owners]),
        }
    )


def _shares(sizes: Mapping[int, float], names: Sequence[str]) -> list[FeatureImportance]:
    """Return each feature's share of the sum, largest first."""
    total = sum(sizes.values()) or 1.0
    found = [(names[position], size / total) for position, size in sizes.items()]
    ordered = sorted(found, key=lambda pair: (-pair[1], pair[0]))
    return [FeatureImportance(feature=name, importance=share) for name, share in ordered]


def effects(
    rows: DataFrame, contract: FeatureContract, names: Sequence[str], score: str, bins: int = 10
) -> list[Effect]:
    """Return, by feature, the mean score and the rows along it: in bins of equal mass, or by its levels.

    Half of the levels are the most frequent ones, half those that move the score most: a level that only a handful of
    owners have may be what matters.

    Two passes over the rows for all features together: one for the edges of the bins, one for the means.
    """
    columns = {name: contract.columns[contract.names.index(name)] for name in names}
    kinds = {name: contract.features[contract.names.index(name)].kind for name in names}
    numeric = [name for name in names if kinds[name] != "category"]
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
    return [_curve(name, kinds[name], [row for row in kept if row["feature"] == i]) for i, name in enumerate(names)]


def _place(feature: int, column: Column, cuts: list[float] | None) -> Column:
    """Say where on its axis a value stands: its bin, or its level; null: nowhere."""
    if cuts is None:
        place, value = F.coalesce(column, F.lit("(missing)")), F.lit(None).cast("double")
    else:
        points = F.array(*[F.lit(cut) for cut in cuts]).cast("array<double>")
        bin_ = F.size(F.filter(points, lambda cut: cut < column)).cast("string")
        place, value = F.when(column.isNotNull(), bin_), column
    return F.struct(F.lit(feature).alias("feature"), place.alias("place"), value.alias("value"))


def _curve(name: str, kind: Kind, points: list[Row]) -> Effect:
    """Return the curve of one feature; days and moments are written as people do, not as days since 1970."""
    if kind == "category":
        points = sorted((row for row in points if row["order"] <= LEVELS), key=lambda row: (-row["rows"], row["place"]))
        values = [row["place"] for row in points]
    else:
        points = sorted(points, key=lambda row: int(row["place"]))
        values = [row["value"] for row in points]
    if kind in ("date", "timestamp"):
        values = [shown(value, kind) for value in values]
    return Effect(
        feature=name, values=values, mean_score=[row["mean"] for row in points], rows=[row["rows"] for row in points]
    )
