"""Which weights of rare labels pay on this table: trial fits of one small model, measured on rows it has not seen.

Heavier weights buy smaller errors where labels are rare for larger ones where they are common; how much depends on
whether rare labels can be predicted at all. So shares of the inverse density, or of its root, are tried. The least
balanced error (the mean over label bins of each bin's own, as in Ren et al., arXiv 2203.16427) wins among those that
cost next to nothing overall, and no weights at all where it wins little: what trial fits gain by chance is no gain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pyspark.sql import functions as F

from remedi_spark.columns import FOLD, LABEL, ROW_HASH, WEIGHT
from remedi_spark.config.chain import LightGBMConfig
from remedi_spark.config.regression import Weighting, Weights
from remedi_spark.labels.counts import amount_column, bin_column, weight_column
from remedi_spark.maths.label_density import LabelDensity
from remedi_spark.maths.label_scale import LabelScale
from remedi_spark.models.cross_fit import FoldFits, cross_fit
from remedi_spark.models.predict import score_by_fold
from remedi_spark.spark.kept import kept
from remedi_spark.spark.partitions import uniform
from remedi_spark.storage.fitted import Fitted
from remedi_spark.storage.strict_json import Record

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

ROWS = 200_000
"""About so many rows, of all owners alike, are enough to tell kinds of weights apart; folds keep owners together."""
FOLDS = 2
"""Folds that are left out in turn."""
NONE = "none"
"""No weights: what the others are held against."""
PRICE = 0.01
"""Share of the overall error that weights may cost."""
LEAST_GAIN = 0.05
"""Share of the balanced error that weights must win."""
TRIAL = LightGBMConfig(num_iterations=300, learning_rate=0.1, num_leaves=15, min_data_in_leaf=50, feature_fraction=0.6)


@dataclass(frozen=True)
class Errors:
    """Mean absolute errors in the label's unit: over rows, and over label bins."""

    mae: float
    balanced: float

    @classmethod
    def of_bins(cls, rows: npt.ArrayLike, totals: npt.ArrayLike) -> Errors:
        """Return the errors from rows and total absolute error of each bin that has any."""
        counts, sums = np.asarray(rows, dtype=np.float64), np.asarray(totals, dtype=np.float64)
        return cls(float(sums.sum() / counts.sum()), float((sums / counts).mean()))


class RowWeights(Record):
    """Which weights of rare labels a training has chosen, and the errors of the trial fits by name, if any."""

    kind: Weights
    share: float = 1.0
    """Of the weights, that is by the density; the rest is 1."""
    tried: dict[str, Errors]

    @property
    def name(self) -> str:
        """As in :attr:`tried`."""
        return Weighting(self.kind, self.share).name


def best_weights(errors: Mapping[str, Errors]) -> str:
    """Return the name of the weights that pay most, :data:`NONE` (which must be among them) where none do.

    >>> best_weights({"none": Errors(10.0, 100.0), "half": Errors(10.1, 90.0), "all": Errors(10.2, 60.0)})
    'half'
    """
    plain = errors[NONE]
    cheap = [name for name, found in errors.items() if found.mae <= (1 + PRICE) * plain.mae]
    best = min(cheap, key=lambda name: errors[name].balanced)
    return best if errors[best].balanced <= (1 - LEAST_GAIN) * plain.balanced else NONE


def row_weight(density: LabelDensity, margin: Column, *, zeros_apart: bool) -> Column:
    """Return a row's own weight times that of its label's bin; with ``zeros_apart`` a label of 0 weighs 1."""
    smoothed = weight_column(density, margin)
    if zeros_apart:
        smoothed = F.when(F.col(LABEL) == 0, F.lit(1.0)).otherwise(smoothed)
    return F.col(WEIGHT) * smoothed


def try_weights(
    rows: DataFrame, densities: Mapping[str, LabelDensity], scale: LabelScale, plan: FoldFits, *, zeros_apart: bool
) -> dict[str, Errors]:
    """Return the out-of-fold errors of :data:`TRIAL` under each kind of weights, by its name.

    Args:
        rows: encoded training rows with label, weight, fold and the target that ``plan`` names.
        densities: by name of the weights, over the same bins.
        scale: between the target and the label's unit.
        plan: of the fits.
        zeros_apart: see :func:`row_weight`.
    """
    share = ROWS / max(plan.rows, 1)
    if share < 1:
        plan = replace(plan, rows=ROWS)
        rows = rows.where(uniform(ROW_HASH, plan.seed + 2) < share)
    with kept(rows) as held:
        return _trials(held, densities, scale, plan, zeros_apart=zeros_apart)


def _trials(
    rows: DataFrame, densities: Mapping[str, LabelDensity], scale: LabelScale, plan: FoldFits, *, zeros_apart: bool
) -> dict[str, Errors]:
    kinds, folds = list(densities), min(FOLDS, plan.folds)
    weighted = {
        kind: rows.withColumn(WEIGHT, row_weight(density, F.col(plan.target), zeros_apart=zeros_apart))
        for kind, density in densities.items()
    }
    todo = [(kind, fold) for kind in kinds for fold in range(folds)]
    fits = cross_fit(weighted, dict.fromkeys(kinds, TRIAL), plan, lambda *_: None, todo=todo).whole()
    # The other folds' places are filled, but none of their rows is scored.
    models: dict[str, Sequence[Fitted]] = {
        kind: [fits.fitted[kind, min(fold, folds - 1)] for fold in range(plan.folds)] for kind in kinds
    }
    unseen = rows.where(F.col(FOLD) < folds).select(FOLD, LABEL, plan.target, "x", "te")
    return _errors(score_by_fold(unseen, models, plan.layout), densities, scale, plan.target)


def _errors(
    scored: DataFrame, densities: Mapping[str, LabelDensity], scale: LabelScale, target: str
) -> dict[str, Errors]:
    edges = np.asarray(next(iter(densities.values())).edges)
    totals = [F.sum(F.abs(amount_column(scale, F.col(kind)) - F.col(LABEL))).alias(kind) for kind in densities]
    by_bin = scored.groupBy(bin_column(edges, F.col(target))).agg(F.count("*").alias("rows"), *totals).collect()
    return {kind: Errors.of_bins([row["rows"] for row in by_bin], [row[kind] for row in by_bin]) for kind in densities}
