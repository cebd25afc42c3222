"""Scale, histogram, relevance and smearing of training labels, by aggregates: no row reaches the driver."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from pyspark.sql import functions as F

from remedi_spark.columns import LABEL
from remedi_spark.config.regression import LDSConfig, RegressionConfig, Weighting
from remedi_spark.errors import InputError
from remedi_spark.maths.checks import FloatArray
from remedi_spark.maths.label_density import LabelDensity, width_edges
from remedi_spark.maths.label_scale import LARGEST_ANGLE, LabelScale
from remedi_spark.maths.relevance import Relevance, fences
from remedi_spark.maths.smearing import LARGEST_RESIDUAL, Smearing
from remedi_spark.spark.quantiles import quantiles

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


def fit_scale(train: DataFrame, config: RegressionConfig) -> tuple[LabelScale, float]:
    """Return the scale of training labels and the share of them that is 0.

    Raises:
        InputError: all training labels are the same.
    """
    label = F.col(LABEL)
    zero = (label == 0).cast("double")
    found = train.agg(F.min(label), F.max(label), F.avg(zero), F.count_if(label != 0)).collect()[0]
    lowest, highest, zeros = float(found[0]), float(found[1]), float(found[2])
    if lowest == highest:
        raise InputError(f"samples: the label is {lowest:g} in every training row; a constant target cannot be learned")
    unit = 1.0
    if config.scale == "asinh":
        sizes = train.where(label != 0).withColumn("size", F.abs(label))
        [[unit]] = quantiles(sizes, ["size"], [0.5], found[3])
    bound = 0.0 if lowest >= 0 else -np.inf
    plain = LabelScale(config.scale, unit, 0.0, 1.0, bound)
    learned = margin_column(plain, label)
    center, spread = train.agg(F.avg(learned), F.stddev_pop(learned)).collect()[0]
    return LabelScale(config.scale, unit, float(center), float(spread), bound), zeros


def fit_relevance(train: DataFrame, *, zeros_apart: bool) -> Relevance:
    """As :meth:`Relevance.of`, of training labels; quartiles of many rows are those of a sample."""
    label = F.col(LABEL)
    rows = train.where(label != 0) if zeros_apart else train
    [[first, median, third]] = quantiles(rows, [LABEL], [0.25, 0.5, 0.75])
    low, high = fences(first, third)
    inside = F.when(label.between(low, high), label)
    found = rows.agg(F.min(inside), F.max(inside), F.min(label) < low, F.max(label) > high).collect()[0]
    return Relevance.from_box(
        median, (float(found[0]), float(found[1])), (found[2], found[3]), zeros_apart=zeros_apart
    )  # fmt: skip


def fit_smearing(train: DataFrame, scale: LabelScale, margin: Column) -> Smearing:
    """As :meth:`Smearing.of`, of training rows with their labels and out-of-fold margins."""
    residual = (margin_column(scale, F.col(LABEL)) - margin) * F.lit(scale.spread)
    if scale.scale == "linear":
        return Smearing(scale, 1.0, float(train.agg(F.avg(residual)).collect()[0][0]))
    e = F.greatest(F.least(residual, F.lit(LARGEST_RESIDUAL)), F.lit(-LARGEST_RESIDUAL))
    even, odd = train.agg(F.avg(F.cosh(e)), F.avg(F.sinh(e))).collect()[0]
    return Smearing(scale, float(even), float(odd))


def count_labels(
    train: DataFrame, scale: LabelScale, config: RegressionConfig, relevance: Relevance
) -> dict[str, LabelDensity]:
    """Return the histogram of training labels in bins of equal width on ``scale``, with each of the weights, by name.

    With ``relevance.zeros_apart`` the weights are those among the labels that are not 0; the counts are of all.
    """
    margin = margin_column(scale, F.col(LABEL))
    low, high = train.agg(F.min(margin), F.max(margin)).collect()[0]
    edges = width_edges(low, high, config.bins)
    zero, other = np.zeros((2, len(edges) - 1))
    by_bin = train.groupBy(bin_column(edges, margin).alias("bin"), (F.col(LABEL) == 0).alias("zero")).count()
    for position, is_zero, rows in by_bin.collect():
        (zero if is_zero else other)[position] = rows
    counts, weighed = tuple((zero + other).tolist()), other if relevance.zeros_apart else zero + other
    found = {one.name: weigh(edges, weighed, scale, config.lds, one, relevance) for one in config.lds.weightings}
    return {name: replace(density, counts=counts) for name, density in found.items()}


def weigh(
    edges: FloatArray, counts: FloatArray, scale: LabelScale, lds: LDSConfig, weighting: Weighting, relevance: Relevance
) -> LabelDensity:
    """Return the weights of label bins; ``edges`` (b + 1,) are margins of ``scale``, ``counts`` (b,) training rows.

    Raises:
        InputError: weights by relevance, and no bin with rows has any.
    """
    if weighting.kind == "relevance":
        given = relevance(scale((edges[:-1] + edges[1:]) / 2))
        if not counts @ given > 0:
            raise InputError(
                "regression.lds.reweight: found relevance, but no training label is beyond the fences of a box plot,"
                " so that none is extreme; use auto"
            )
        return LabelDensity.weighing(edges, counts, given).mixed(weighting.share)
    return LabelDensity.from_histogram(
        edges, counts, reweight=weighting.kind, kernel=lds.kernel, kernel_size=lds.kernel_size, sigma=lds.sigma,
        exact=True,
    ).mixed(weighting.share)  # fmt: skip


def weight_column(density: LabelDensity, margin: Column) -> Column:
    """Return the smoothing weight of each margin, 1 where it is null; mean 1 over the training rows."""
    table = F.array(*[F.lit(weight) for weight in density.weights])
    found = table[bin_column(np.asarray(density.edges), margin)]
    return F.coalesce(found, F.lit(1.0))


def bin_column(edges: np.ndarray[tuple[int], np.dtype[np.float64]], margin: Column) -> Column:
    """Return the bin of each margin among bins of equal width, from 0; outside the edges the nearest one."""
    bins = len(edges) - 1
    place = F.floor((margin - F.lit(float(edges[0]))) * F.lit(bins / float(edges[-1] - edges[0])))
    return F.when(margin.isNotNull(), F.least(F.greatest(place, F.lit(0)), F.lit(bins - 1)).cast("int"))


def margin_column(scale: LabelScale, label: Column) -> Column:
    """As :meth:`LabelScale.margin`, on a column."""
    learned = F.asinh(label / F.lit(scale.unit)) if scale.scale == "asinh" else label
    return (learned - F.lit(scale.center)) / F.lit(scale.spread)


def amount_column(scale: LabelScale, margin: Column) -> Column:
    """As calling a :class:`LabelScale`, on a column."""
    learned = margin * F.lit(scale.spread) + F.lit(scale.center)
    if scale.scale == "asinh":
        angle = F.greatest(F.least(learned, F.lit(LARGEST_ANGLE)), F.lit(-LARGEST_ANGLE))
        learned = F.sinh(angle) * F.lit(scale.unit)
    return F.greatest(learned, F.lit(scale.lowest))


def smeared_column(smearing: Smearing, margin: Column) -> Column:
    """As calling a :class:`Smearing`, on a column."""
    scale = smearing.scale
    learned = margin * F.lit(scale.spread) + F.lit(scale.center)
    if scale.scale == "linear":
        return F.greatest(learned + F.lit(smearing.odd), F.lit(scale.lowest))
    angle = F.greatest(F.least(learned, F.lit(LARGEST_ANGLE)), F.lit(-LARGEST_ANGLE))
    mean = F.sinh(angle) * F.lit(smearing.even) + F.cosh(angle) * F.lit(smearing.odd)
    return F.greatest(mean * F.lit(scale.unit), F.lit(scale.lowest))
