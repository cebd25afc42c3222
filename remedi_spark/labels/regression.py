"""An amount with a long tail: margins are standardised amounts, scores are amounts, rare labels weigh more.

Source of the weights and of feature smoothing: deep imbalanced regression (arXiv 2102.09554). The weights enter every
fit of the chain, because each one that left them out would pull predictions of rare labels back to the common ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pyspark.sql import functions as F

from remedi_spark.columns import LABEL
from remedi_spark.config.chain import ModelConfig
from remedi_spark.config.regression import ZERO_INFLATED
from remedi_spark.labels.amount_measures import Shots, measure_amounts
from remedi_spark.labels.binned import EXACT_ROWS
from remedi_spark.labels.counts import (
    amount_column,
    count_labels,
    fit_relevance,
    fit_scale,
    fit_smearing,
    margin_column,
    smeared_column,
)
from remedi_spark.labels.kind import Task
from remedi_spark.labels.measured import LabelBin, Measured
from remedi_spark.labels.weights import NONE, Errors, RowWeights, best_weights, row_weight, try_weights
from remedi_spark.maths.label_density import LabelDensity
from remedi_spark.maths.label_scale import LabelScale, ScoreMap
from remedi_spark.maths.relevance import Relevance
from remedi_spark.models.contract import TARGET, Amounts, Array
from remedi_spark.models.cross_fit import FoldFits
from remedi_spark.models.nets.smoothing import FeatureSmoothing
from remedi_spark.progress import log
from remedi_spark.samples.layout import Layout
from remedi_spark.spark.quantiles import quantiles

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

LABELS, WEIGHTS = "labels", "label_weights"
"""Files: the scale, the share of zeros, how extreme labels are, the histogram with each kind of weights; which kind was
chosen, and how."""
_RARE = (0.95, 0.9, 0.75, 0.5, 0.0)


@dataclass(frozen=True)
class Regression(Task):
    """See :class:`remedi_spark.labels.kind.Task`."""

    binary: ClassVar[bool] = False
    loss: ClassVar[str] = "mse"
    rare_owners: ClassVar[str] = "owners with a label in the upper tail"
    baselines: ClassVar[dict[str, str]] = {
        "mean": "mean",
        "stack": "stack_lr",
        "selection": "selection",
        "smeared": "mean",
    }
    retained: ClassVar[tuple[str, ...]] = ("value_at_k", "mae")
    files: ClassVar[tuple[str, ...]] = ("labels.json", "label_weights.json")

    @cached_property
    def _labels(self) -> dict[str, Any]:
        stored: dict[str, Any] = self.store.load(LABELS)
        return stored

    @cached_property
    def row_weights(self) -> RowWeights:
        """Which weights were chosen, and what was tried."""
        return RowWeights.model_validate(self.store.load(WEIGHTS))

    @property
    def scale(self) -> LabelScale:
        """Between amounts and margins."""
        return LabelScale.from_dict(self._labels["scale"])

    @property
    def density(self) -> LabelDensity:
        """Training labels by bin, and the weight of each bin; edges are margins."""
        return LabelDensity.from_dict(self._labels["densities"][self.row_weights.name])

    def rare_above(self, labelled: DataFrame) -> float:
        """Return the 95 % quantile of the labels, or the next lower one that is below the highest label."""
        [[*cuts, highest]] = quantiles(labelled, [LABEL], [*_RARE, 1.0])
        return float(next((cut for cut in cuts if cut < highest), highest))

    def measure_labels(self, train: DataFrame) -> None:
        """Fit and store the scale, the share of zeros, the relevance, and the histogram with each kind of weights."""
        config = self.config.regression
        scale, zeros = fit_scale(train, config)
        apart = zeros >= ZERO_INFLATED and config.lds.zeros_apart
        relevance = fit_relevance(train, zeros_apart=apart)
        densities = count_labels(train, scale, config, relevance)
        self.store.save(LABELS, {
            "scale": scale.to_dict(), "zeros": zeros, "zeros_apart": apart,
            "relevance": relevance.to_dict(),
            "densities": {kind: density.to_dict() for kind, density in densities.items()},
        })  # fmt: skip

    def choose_weights(self, encoded: DataFrame, layout: Layout, rows: int) -> None:
        """Store the weights that pay, by trial fits if there are several."""
        base, stored, apart = self.config.base_models, self._labels["densities"], self._labels["zeros_apart"]
        densities = {name: LabelDensity.from_dict(density) for name, density in stored.items()}
        errors: dict[str, Errors] = {}
        if len(densities) > 1:
            plan = FoldFits(
                layout, base.folds, TARGET, self.loss, 0.0, rows, base.validation_share, 1, self.config.seed * 1000,
                Amounts(self.scale), seconds=self.config.spark.unit_seconds,
            )  # fmt: skip
            trial = encoded.withColumn(TARGET, self.target())
            errors = try_weights(trial, densities, self.scale, plan, zeros_apart=apart)
        name = best_weights(errors) if errors else next(iter(densities))
        chosen = next(one for one in self.config.regression.lds.weightings if one.name == name)
        self.store.save(WEIGHTS, RowWeights(kind=chosen.kind, share=chosen.share, tried=errors).model_dump())
        least, most = min(densities[name].weights), max(densities[name].weights)
        weights = f"row weights {name}, from {least:.2g} to {most:.2g}"
        log("base-models", f"label: {self._labels['zeros']:.0%} zeros, {weights}{_beside(errors, name)}")

    def target(self) -> Column:
        """Return the standardised label."""
        return margin_column(self.scale, F.col(LABEL))

    def weight(self) -> Column:
        """Return the row's own weight times that of its label's bin."""
        return row_weight(self.density, self.target(), zeros_apart=self._labels["zeros_apart"])

    def members(self, models: dict[str, ModelConfig]) -> dict[str, ModelConfig]:
        """Return those that are switched on; those for many zeros only where there are any."""
        zeros = self._labels["zeros"] >= ZERO_INFLATED and self.scale.lowest == 0
        return {name: model for name, model in models.items() if model.enabled is True or (model.enabled and zeros)}

    def amounts(self) -> Amounts | None:
        """Return the scale, and how nets smooth their features unless that is switched off."""
        fds = self.config.regression.fds
        smoothing = FeatureSmoothing(self.density.edges, fds.kernel, fds.kernel_size, fds.sigma, fds.momentum)
        return Amounts(self.scale, smoothing if fds.enabled and smoothing.buckets > 1 else None)

    def predictions(self, margins: DataFrame, names: list[str]) -> DataFrame:
        """Return amounts: all models have learned the same scale, so there is nothing to align."""
        return margins.withColumns({name: self.score(F.col(name)) for name in names})

    def comparable(self) -> Callable[[str, Array], Array]:
        """Return amounts."""
        return partial(_amounts, self.scale)

    def margin(self) -> Callable[[Array], Array]:
        """Return the standardised amount."""
        return self.scale.margin

    def score(self, margin: Column) -> Column:
        """Return the amount."""
        return amount_column(self.scale, margin)

    def baseline_scores(self, train: Callable[[], DataFrame]) -> dict[str, Column]:
        """Return amounts; ``smeared`` is the mean of the members brought back to the mean amount, not the median."""
        smearing = fit_smearing(train(), self.scale, F.col("mean"))
        return {**super().baseline_scores(train), "smeared": smeared_column(smearing, F.col("mean"))}

    def student_target(self, label_weight: float) -> Column:
        """Return the teacher's margin, mixed with the label's where there is one.

        The squared error on the mixture differs by a constant from that share of the squared errors on each.
        """
        teacher = F.col("fuser")
        if not label_weight:
            return teacher
        return F.coalesce((1 - label_weight) * teacher + label_weight * self.target(), teacher)

    def score_map(self, teacher: DataFrame) -> ScoreMap:
        """Return the scale: a calibration to the mean would undo the weights of the rare labels."""
        return self.scale

    def measure(self, rows: DataFrame, scores: dict[str, Column], k: int) -> dict[str, Measured]:
        """Return errors overall and by how rare the label was in training, and the worth of the ranking."""
        config = self.config.regression
        shots = Shots(
            self.scale, self.density.edges, self.density.counts, config.many, config.few,
            Relevance.from_dict(self._labels["relevance"]), self._labels["zeros_apart"],
        )  # fmt: skip
        share = min(1.0, EXACT_ROWS * self.config.scores.budget / k)
        if share < 1:
            log("report", f"amounts are measured on about {EXACT_ROWS:,} test rows, {share:.1%} of the owners, by hash")
        return measure_amounts(rows, scores, k, shots, self.config.evaluation.bootstrap, share)

    def label_bins(self, student: Measured) -> list[LabelBin]:
        """Return the bins with their rows and weights in training, and the student's errors."""
        density, edges = self.density, np.asarray(self.density.edges)
        centres = self.scale((edges[:-1] + edges[1:]) / 2)
        bins = zip(centres, density.counts, density.weights, student.error_by_bin, strict=True)
        return [LabelBin(label=at, rows=int(rows), weight=weight, error=error) for at, rows, weight, error in bins]


def _amounts(scale: LabelScale, _: str, margin: Array) -> Array:
    return scale(margin)


def _beside(errors: Mapping[str, Errors], name: str) -> str:
    """Say what the chosen weights change in the trial fits, against none."""
    if not errors or name == NONE:
        return ""
    own, plain = errors[name], errors[NONE]
    return f" (trial fits: MAE {own.mae / plain.mae - 1:+.1%}, by label bin {own.balanced / plain.balanced - 1:+.1%})"
