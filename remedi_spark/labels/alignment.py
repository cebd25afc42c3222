"""Bring every base model to the true prior, so that their scores can be compared with one another.

A focal or reweighted model's scale is its own. Each model's out-of-fold margins get a slope and an intercept (Platt)
from binned counts: only (model, fold, bin) sums reach the driver. A training row of fold k is aligned by what the other
folds tell, so that its own label does not enter; any other row by all folds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from pyspark.sql import functions as F
from scipy.special import expit

from remedi_spark.columns import FOLD, LABEL, WEIGHT
from remedi_spark.maths.calibrators import PlattCalibrator
from remedi_spark.models.contract import Array

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_BINS_PER_UNIT = 20
"""Bins a unit of log-odds; within a bin the mean margin stands for all."""


def fit_alignment(margins: DataFrame, names: Sequence[str], folds: int) -> dict[str, list[list[float]]]:
    """Return for each model ``[slope, intercept]`` by fold, and last for rows of no fold."""
    binned = binned_margins(margins, names)
    alignment: dict[str, list[list[float]]] = {}
    for name in names:
        mine = binned[binned["model"] == name]
        subsets = [mine[mine[FOLD] != k] for k in range(folds)]
        alignment[name] = [_fit(part) for part in [*subsets, mine]]
    return alignment


def align(margins: DataFrame, alignment: dict[str, list[list[float]]]) -> DataFrame:
    """Replace each model's margin by its aligned probability."""
    columns = {}
    for name, lines in alignment.items():
        table = F.array(*[F.array(*map(F.lit, line)) for line in lines])
        line = F.element_at(table, F.when(F.col(FOLD) >= 0, F.col(FOLD) + 1).otherwise(F.lit(len(lines))))
        logit = line[0] * F.col(name) + line[1]
        columns[name] = F.lit(1.0) / (F.lit(1.0) + F.exp(-logit))
    return margins.withColumns(columns)


def aligned(alignment: dict[str, list[list[float]]], shift: float, name: str, margin: Array) -> Array:
    """Return the aligned probabilities of rows of no fold, (rows,); ``shift`` is added to the model's own margins."""
    slope, intercept = alignment[name][-1]
    probability: Array = expit(slope * (margin + shift) + intercept)
    return probability


def log_odds(probability: Array) -> Array:
    """Return the log-odds of probabilities, finite at 0 and 1."""
    inside = np.clip(probability, 1e-12, 1 - 1e-12)
    odds: Array = np.log(inside) - np.log1p(-inside)
    return odds


def binned_margins(margins: DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Return (model, fold, bin, margin, positive, weight): weighted labels by model, fold and bin of the margin."""
    pairs = F.explode(F.array(*[F.struct(F.lit(n).alias("model"), F.col(n).alias("margin")) for n in names]))
    weighted = F.col(WEIGHT) * F.col(LABEL)
    return (
        margins.select(FOLD, LABEL, WEIGHT, pairs.alias("pair"))
        .select(FOLD, LABEL, WEIGHT, "pair.model", "pair.margin")
        .groupBy("model", FOLD, F.round(F.col("margin") * _BINS_PER_UNIT).alias("bin"))
        .agg(F.avg("margin").alias("margin"), F.sum(weighted).alias("positive"), F.sum(WEIGHT).alias("weight"))
        .toPandas()
    )


def binned_rows(bins: pd.DataFrame) -> tuple[Array, Array, Array, Array]:
    """Return margins, labels, weights and folds of the weighted rows that the bins stand for."""
    positive = bins["positive"].to_numpy(dtype=np.float64)
    weights = np.concatenate([positive, bins["weight"].to_numpy(dtype=np.float64) - positive])
    labels = np.repeat([1.0, 0.0], len(bins))
    used = weights > 0
    margins = np.tile(bins["margin"].to_numpy(dtype=np.float64), 2)
    folds = np.tile(bins[FOLD].to_numpy(dtype=np.float64), 2)
    return margins[used], labels[used], weights[used], folds[used]


def _fit(bins: pd.DataFrame) -> list[float]:
    margins, labels, weights, _ = binned_rows(bins)
    platt = PlattCalibrator.fit(margins, labels, weights)
    return [float(platt.a), float(platt.b)]
