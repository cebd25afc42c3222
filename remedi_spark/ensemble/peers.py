"""Ranks across owners, by Spark's window functions: what relative features need of other rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as F

from remedi_spark.columns import KEY, LABEL, PART, SNAPSHOT
from remedi_spark.samples.holdout import TEST, TRAIN, UNLABELLED
from remedi_spark.spark.joins import join_rows
from remedi_spark.spark.quantiles import quantiles

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyspark.sql import DataFrame


def with_peer_ranks(
    predictions: DataFrame, samples: DataFrame, models: Sequence[str], peers: Mapping[str, str], *, own_test: bool
) -> DataFrame:
    """Add ``peer_<name>_<model>``: the percent rank of each score among the owners of its snapshot and peer group.

    Args:
        predictions: one score column a model.
        samples: the rows' features.
        models: names of the score columns.
        peers: column of ``samples`` by the user's name of the feature.
        own_test: whether the test rows are a table of their own, in which an owner of the training rows may stand.
    """
    ranked = join_rows(predictions, _levels(samples, peers, own_test=own_test), "left") if peers else predictions
    for name, column in peers.items():
        group = Window.partitionBy(SNAPSHOT, column)
        ranked = ranked.withColumns(
            {f"peer_{name}_{m}": F.percent_rank().over(group.orderBy(F.col(f"`{m}`"))) for m in models}
        )
    return ranked.drop(*peers.values())


def quantile_grids(train: DataFrame, models: list[str], points: int, rows: int) -> dict[str, list[float]]:
    """Return each model's quantiles on training rows (about ``rows``), the same for whatever batch is scored later."""
    return dict(zip(models, quantiles(train, models, [i / points for i in range(points + 1)], rows), strict=True))


def _levels(samples: DataFrame, peers: Mapping[str, str], *, own_test: bool) -> DataFrame:
    """Return the peer groups of every row; with a test table of its own an owner may stand in both."""
    levels = samples.select(*KEY, *peers.values(), "source", LABEL)
    if own_test:
        known = F.when(F.col(LABEL).isNull(), F.lit(UNLABELLED)).otherwise(F.lit(TRAIN))
        levels = levels.withColumn(PART, F.when(F.col("source") == TEST, F.lit(TEST)).otherwise(known))
    return levels.drop("source", LABEL)
