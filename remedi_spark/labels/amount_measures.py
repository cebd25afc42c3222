"""Errors and worth of every model of a regression on the test rows: one Spark task a model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from remedi_spark.columns import LABEL, OWNER
from remedi_spark.labels.measured import Measured
from remedi_spark.labels.measures import GAINS_POINTS, by_model, gains_of
from remedi_spark.maths.label_scale import LabelScale
from remedi_spark.maths.regression import (
    SMALLEST_ERROR,
    geometric_mean_absolute_error,
    mae,
    rmse,
    shot_metrics,
    spearman,
    value_at_k,
    value_curve,
)
from remedi_spark.maths.relevance import Relevance, sera
from remedi_spark.spark.partitions import uniform

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

Array = npt.NDArray[np.float64]
_CHOOSES = 41
"""Seed of which owners are measured."""


@dataclass(frozen=True)
class Shots:
    """What training labels tell about test labels: how many were like one, and how extreme it is.

    Attributes:
        scale: of the margins.
        edges: of the label bins, as margins, (b + 1,).
        counts: training rows by bin, (b,).
        many: a bin with more rows is many-shot.
        few: a bin with fewer rows is few-shot.
        relevance: of a label, for SERA.
        zeros_apart: labels of exactly 0 are measured as a group of their own.
    """

    scale: LabelScale
    edges: tuple[float, ...]
    counts: tuple[float, ...]
    many: float
    few: float
    relevance: Relevance
    zeros_apart: bool

    def label_edges(self) -> Array:
        """Return the edges in the label's unit; the outer ones give way to what the way there and back rounds off."""
        edges = self.scale(self.edges)
        slack = 1e-9 * (edges[-1] - edges[0])
        edges[0], edges[-1] = edges[0] - slack, edges[-1] + slack
        return edges


def measure_amounts(
    rows: DataFrame, scores: dict[str, Column], k: int, shots: Shots, resamples: int, share: float = 1.0
) -> dict[str, Measured]:
    """Return errors, intervals, gains of value, and errors by shot and label bin of each model.

    Args:
        rows: owner_id, label and what the score columns refer to.
        scores: by model, the predicted amount.
        k: owners that the budget allows.
        shots: label bins of the training rows.
        resamples: bootstrap resamples, of owners; 0: no intervals.
        share: of the owners, chosen by hash, whose rows are measured: in (0, 1]. SERA, a total, is brought to all rows.
    """
    measured = rows.where(uniform(OWNER, _CHOOSES) < share) if share < 1 else rows
    best = max(1, round(k * share))
    return by_model(measured, scores, lambda frame: _measure(frame, best, shots, resamples, share))


def _measure(frame: pd.DataFrame, k: int, shots: Shots, resamples: int, taken: float) -> Measured:
    model, labels, scores = frame["model"].iloc[0], frame[LABEL].to_numpy(), frame["score"].to_numpy()
    relevance = shots.relevance(labels)
    metrics = {
        "mae": mae(labels, scores),
        "rmse": rmse(labels, scores),
        "gmae": geometric_mean_absolute_error(labels, scores),
        "spearman": spearman(labels, scores),
        "value_at_k": value_at_k(labels, scores, k),
        "sera": sera(labels, scores, relevance) / taken,
    }
    by_shot = shot_metrics(
        labels, scores, edges=shots.label_edges(), train_counts=shots.counts, many=shots.many, few=shots.few,
        zeros_apart=shots.zeros_apart,
    )  # fmt: skip
    owners = np.unique(frame[OWNER].to_numpy(), return_inverse=True)[1]  # in an order of their own
    share, value = value_curve(labels, scores, GAINS_POINTS)
    return Measured(
        model=model, metrics={**metrics}, gains=gains_of(model, share, value),
        intervals=_intervals(labels, scores, relevance / taken, owners, k, resamples) if resamples else {},
        shots={shot: {**found} for shot, found in by_shot.items()},
        error_by_bin=_error_by_bin(labels, np.abs(scores - labels), shots),
    )  # fmt: skip


def _error_by_bin(labels: Array, errors: Array, shots: Shots) -> list[float | None]:
    bins = len(shots.counts)
    place = np.searchsorted(shots.edges, shots.scale.margin(labels), side="right") - 1
    place = np.clip(place, 0, bins - 1)
    rows, sums = np.bincount(place, minlength=bins), np.bincount(place, weights=errors, minlength=bins)
    return [float(total / count) if count else None for total, count in zip(sums, rows, strict=True)]


def _intervals(
    labels: Array, scores: Array, relevance: Array, owners: npt.NDArray[np.intp], k: int, resamples: int, seed: int = 0
) -> dict[str, tuple[float | None, float | None]]:
    """95 % percentile bootstrap over owners; errors are sums by owner, so that a resample costs one product."""
    errors = np.abs(scores - labels)
    parts = (np.ones(len(labels)), errors, errors**2, np.log(np.maximum(errors, SMALLEST_ERROR)), errors**2 * relevance)
    by_owner = np.stack([np.bincount(owners, weights=part) for part in parts])  # (5, owners)
    rng = np.random.default_rng(seed)
    number = by_owner.shape[1]
    value = _TopValue.of(labels, scores, k / len(labels))
    label_places, score_places = (np.unique(side, return_inverse=True)[1] for side in (labels, scores))
    drawn = []
    for _ in range(resamples):
        times = np.bincount(rng.integers(0, number, number), minlength=number)
        rows, absolute, squared, logs, area = by_owner @ times
        weights = times[owners]
        agreement = _correlation(_ranks(label_places, weights), _ranks(score_places, weights), weights)
        means = (absolute / rows, np.sqrt(squared / rows), np.exp(logs / rows))
        drawn.append((*means, agreement, value.share(weights), area))
    low, high = np.nanpercentile(np.array(drawn), [2.5, 97.5], axis=0)
    names = ("mae", "rmse", "gmae", "spearman", "value_at_k", "sera")
    return dict(zip(names, zip(low, high, strict=True), strict=True))


def _ranks(places: npt.NDArray[np.intp], weights: npt.NDArray[np.int64]) -> Array:
    """Mean rank of each row among rows that count ``weights`` times; ``places`` number the distinct values upwards."""
    rows = np.bincount(places, weights=weights)
    ranks: Array = (np.cumsum(rows) - (rows - 1) / 2)[places]
    return ranks


def _correlation(one: Array, other: Array, weights: npt.NDArray[np.int64]) -> float:
    """Weighted Pearson correlation; nan when either side is constant."""
    one, other = (side - side @ weights / weights.sum() for side in (one, other))
    spread = (one**2 @ weights) * (other**2 @ weights)
    return float((one * other) @ weights / np.sqrt(spread)) if spread > 0 else math.nan


@dataclass(frozen=True)
class _TopValue:
    """Share of the total label in the best ``budget`` of the rows, for any row weights; sorts once."""

    labels: Array
    order: npt.NDArray[np.intp]
    starts: npt.NDArray[np.intp]
    """First row, in ``order``, of each group of equal scores."""
    budget: float

    @classmethod
    def of(cls, labels: Array, scores: Array, budget: float) -> _TopValue:
        order = np.argsort(-scores, kind="stable")
        starts = np.flatnonzero(np.append(True, np.diff(scores[order]) != 0))
        return cls(labels[order], order, starts, budget)

    def share(self, weights: npt.NDArray[np.int64]) -> float:
        ordered = weights[self.order].astype(np.float64)
        rows = np.append(0.0, np.cumsum(np.add.reduceat(ordered, self.starts)))
        value = np.append(0.0, np.cumsum(np.add.reduceat(ordered * self.labels, self.starts)))
        return float(np.interp(self.budget * rows[-1], rows, value) / value[-1]) if value[-1] > 0 else math.nan
