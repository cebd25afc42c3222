"""A 0/1 label: margins are log-odds, scores are calibrated probabilities."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from pyspark.sql import functions as F

from remedi_spark.columns import LABEL, PART, WEIGHT
from remedi_spark.labels.alignment import align, aligned, binned_margins, binned_rows, fit_alignment, log_odds
from remedi_spark.labels.binned import EXACT_ROWS
from remedi_spark.labels.kind import Task
from remedi_spark.labels.measured import Measured
from remedi_spark.labels.measures import measure_models
from remedi_spark.maths.calibrator_choice import best_calibrator
from remedi_spark.maths.label_scale import ScoreMap
from remedi_spark.models.contract import Array
from remedi_spark.models.row_caps import Shares
from remedi_spark.samples.holdout import TRAIN

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


@dataclass(frozen=True)
class Classification(Task):
    """See :class:`remedi_spark.labels.kind.Task`."""

    binary: ClassVar[bool] = True
    loss: ClassVar[str] = "logistic"
    rare_owners: ClassVar[str] = "positive owners"
    baselines: ClassVar[dict[str, str]] = {
        name: name for name in ("mean", "rank_mean", "stack_lr", "selection")
    }  # fmt: skip
    retained: ClassVar[tuple[str, ...]] = ("ap", "recall_at_k")
    only_rank: ClassVar[tuple[str, ...]] = ("rank_mean",)
    """Baselines whose scores are no probabilities."""

    def rare_above(self, labelled: DataFrame) -> float:
        """Return 0: positives are rare."""
        return 0.0

    def target(self) -> Column:
        """Return the label."""
        return F.col(LABEL)

    def predictions(self, margins: DataFrame, names: list[str]) -> DataFrame:
        """Bring every model to the true prior by what the other folds tell."""
        alignment = fit_alignment(margins.where(F.col(PART) == TRAIN), names, self.config.base_models.folds)
        self.store.save("alignment", alignment)
        return align(margins, alignment)

    def comparable(self) -> Callable[[str, Array], Array]:
        """Return aligned probabilities."""
        return partial(aligned, self.store.load("alignment"), Shares(**self.store.load("training")["shares"]).shift)

    def margin(self) -> Callable[[Array], Array]:
        """Return log-odds, finite at 0 and 1."""
        return log_odds

    def score(self, margin: Column) -> Column:
        """Return the probability of log-odds."""
        return 1 / (1 + F.exp(-margin))

    def student_target(self, label_weight: float) -> Column:
        """Return the teacher's log-odds; the label enters a net's loss on its own."""
        return F.col("fuser")

    def student_weight(self, prior: float) -> Column:
        """Weigh by the root of p(1 - p), about 1 on average: halfway from errors of log-odds to those of probabilities.

        A gap of the log-odds of d moves a probability by p(1 - p)d. Unweighted, the many rows of least probability
        would shape the trees; by p(1 - p) itself, hardly any row would.
        """
        p = self.score(F.col("fuser"))
        return F.col(WEIGHT) * F.sqrt(p * (1 - p) / (prior * (1 - prior)))

    def score_map(self, teacher: DataFrame) -> ScoreMap:
        """Choose and fit the calibration; only binned counts reach the driver."""
        logits, labels, weights, folds = binned_rows(binned_margins(teacher, ["fuser"]))
        return best_calibrator(logits, labels, groups=folds, weights=weights, seed=self.config.seed)

    def measure(self, rows: DataFrame, scores: dict[str, Column], k: int) -> dict[str, Measured]:
        """Return ranking and calibration metrics, intervals, gains and reliability."""
        many = k > EXACT_ROWS * self.config.scores.budget
        return measure_models(rows, scores, k, self.config.evaluation.bootstrap, self.only_rank, many=many)
