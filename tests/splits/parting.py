"""Hold-out and folds of a whole table, by the parts that the chain puts together itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from remedi_spark.columns import LABEL, OWNER, PART
from remedi_spark.config.chain import EvaluationConfig
from remedi_spark.samples.folds import deal
from remedi_spark.samples.holdout import BUCKET, choose_holdout

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def assign_folds(rows: DataFrame, folds: int, seed: int) -> DataFrame:
    """Add ``fold`` and ``block`` by owner."""
    owners = rows.groupBy(OWNER).agg(F.max(F.col(LABEL) > 0).alias("positive"))
    return rows.join(owners.select(OWNER, *deal("positive", folds, seed)), OWNER)


def split_holdout(
    samples: DataFrame, config: EvaluationConfig, seed: int, above: float = 0.0, *, both: bool = False
) -> tuple[DataFrame, str]:
    """Add ``part``; return how the test rows were chosen, too."""
    chosen = choose_holdout(samples, config, seed, above, both=both)
    return chosen.with_buckets(samples).withColumn(PART, chosen.part).drop(BUCKET), chosen.description
