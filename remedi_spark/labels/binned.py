"""Rows counted by bins of a score, so that no task holds what grows with the company.

A bin is a narrow relative range of the score: 1/:data:`FINE` of an octave, 0.02 % of it. Ranking metrics of the counts
differ from those of the rows by the order inside of bins alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from pyspark.sql import functions as F

from remedi_spark.columns import LABEL
from remedi_spark.maths.block_bootstrap import BLOCKS, BlockCounts
from remedi_spark.maths.checks import FloatArray

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

EXACT_ROWS = 1_000_000
"""Up to so many rows a task measures them as they are."""
FINE, COARSE = 4096, 128
"""Bins an octave: of what is measured, and of its intervals."""
_OCTAVES = 1100
"""More than there are below 1 in double precision."""
NO_BLOCK = -1
"""Block of the fine bins."""


def score_bin(score: Column, per_octave: int) -> Column:
    """Return the number of a score's bin, which never falls as the score rises; a score of 0 has its own."""
    octave = F.log2(F.abs(score)) + F.lit(float(_OCTAVES))
    place = F.floor(octave * F.lit(float(per_octave))).cast("long")
    return F.when(score > 0, place).when(score < 0, -place).otherwise(F.lit(0).cast("long"))


def count_scores(rows: DataFrame, keys: list[str], per_octave: int, *more: Column) -> DataFrame:
    """Return by key and ``bin``: ``rows``, ``positives``, and ``score``, the mean of the bin.

    Args:
        rows: ``label``, ``score`` and the keys.
        keys: columns beside the bin.
        per_octave: bins an octave.
        more: further aggregates of a bin.
    """
    binned = rows.withColumn("bin", score_bin(F.col("score"), per_octave))
    sums = (F.count("*").alias("rows"), F.sum(LABEL).alias("positives"), F.avg("score").alias("score"))
    return binned.groupBy(*keys, "bin").agg(*sums, *more)


def count_for_intervals(rows: DataFrame, keys: list[str], owner: Column) -> DataFrame:
    """Return fine counts of block :data:`NO_BLOCK`, and coarse ones by ``block`` of owners; columns as one another."""
    fine = count_scores(rows, keys, FINE).withColumn("block", F.lit(NO_BLOCK))
    blocked = rows.withColumn("block", F.pmod(F.xxhash64(owner, F.lit(1)), F.lit(BLOCKS)).cast("int"))
    return fine.unionByName(count_scores(blocked, [*keys, "block"], COARSE))


def as_rows(counts: pd.DataFrame) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return labels, scores and weights of the weighted rows that counts stand for: positives, then the others."""
    positives = counts["positives"].to_numpy(dtype=np.float64)
    weights = np.concatenate([positives, counts["rows"].to_numpy(dtype=np.float64) - positives])
    used = weights > 0
    labels, scores = np.repeat([1.0, 0.0], len(counts)), np.tile(counts["score"].to_numpy(dtype=np.float64), 2)
    return labels[used], scores[used], weights[used]


def by_block(counts: pd.DataFrame) -> BlockCounts:
    """Return the coarse counts as matrices, by bin and block."""
    falling, at = np.unique(-counts["bin"].to_numpy(), return_inverse=True)
    shape = (len(falling), BLOCKS)
    positives, rows, total = np.zeros(shape), np.zeros(shape), np.zeros(len(falling))
    block, score = counts["block"].to_numpy(), counts["score"].to_numpy(dtype=np.float64)
    number = counts["rows"].to_numpy(dtype=np.float64)
    np.add.at(positives, (at, block), counts["positives"].to_numpy(dtype=np.float64))
    np.add.at(rows, (at, block), number)
    np.add.at(total, at, number * score)
    return BlockCounts(total / rows.sum(axis=1), positives, rows)
