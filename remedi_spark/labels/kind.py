"""What depends on the kind of label, in one place; the rest of the chain is the same code for every task.

Every model of the chain gives a *margin*: log-odds of a 0/1 label, or a standardised amount. Relative features, fuser
and student work on margins alone. A :class:`Task` says how labels become what is learned, how margins become what is
published, and how that is judged.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pyspark.sql import functions as F

from remedi_spark.columns import LABEL, WEIGHT
from remedi_spark.config import Config
from remedi_spark.config.chain import ModelConfig
from remedi_spark.labels.measured import LabelBin, Measured, Size
from remedi_spark.maths.label_scale import ScoreMap
from remedi_spark.models.contract import Amounts, Array
from remedi_spark.samples.layout import Layout
from remedi_spark.storage.store import ModelStore

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from remedi_spark.labels.weights import RowWeights


@dataclass(frozen=True)
class Task(ABC):
    """One kind of label, in one phase of one run. What most kinds need not say has a default here."""

    config: Config
    store: ModelStore

    binary: ClassVar[bool]
    """Labels are 0 or 1."""
    loss: ClassVar[str]
    """What base models, stacks and fuser minimise on :meth:`target`: ``logistic`` or ``mse``."""
    rare_owners: ClassVar[str]
    """What owners with a rare label are called."""
    baselines: ClassVar[dict[str, str]]
    """Baselines worth measuring, each with its column of ``fused_scores``."""
    retained: ClassVar[tuple[str, ...]]
    """Metrics of which a student is to keep what its teacher has."""
    files: ClassVar[tuple[str, ...]] = ()
    """What :meth:`measure_labels` and :meth:`choose_weights` store."""

    @abstractmethod
    def rare_above(self, labelled: DataFrame) -> float:
        """Return the label above which rows are rare: folds and test share are even in them."""

    def measure_labels(self, train: DataFrame) -> None:  # noqa: B027 - most kinds need nothing
        """Measure and store what the training labels must tell before anything is learned."""

    def choose_weights(self, encoded: DataFrame, layout: Layout, rows: int) -> None:  # noqa: B027 - likewise
        """Settle and store the weights of rows where that takes trial fits.

        Args:
            encoded: the training rows with their folds, lazily: nothing is computed unless it is needed.
            layout: of the encoded rows.
            rows: how many there are.
        """

    @abstractmethod
    def target(self) -> Column:
        """Return what models learn, over ``label``."""

    def weight(self) -> Column:
        """Return the row weight of every fit, over ``weight`` and ``label``."""
        return F.col(WEIGHT)

    def members(self, models: dict[str, ModelConfig]) -> dict[str, ModelConfig]:
        """Return the base models that suit the labels."""
        return {name: model for name, model in models.items() if model.enabled}

    def amounts(self) -> Amounts | None:
        """Return what learners of amounts need beside the target; None for 0/1 labels."""
        return None

    @abstractmethod
    def predictions(self, margins: DataFrame, names: list[str]) -> DataFrame:
        """Turn the models' own margins into comparable scores: probabilities at the true prior, or amounts."""

    @abstractmethod
    def comparable(self) -> Callable[[str, Array], Array]:
        """Return what :meth:`predictions` does to rows of no fold, for arrays: from a model's margins to scores."""

    @abstractmethod
    def margin(self) -> Callable[[Array], Array]:
        """Return the way from scores to margins, for arrays."""

    @abstractmethod
    def score(self, margin: Column) -> Column:
        """Return the score of a margin, before any calibration."""

    def baseline_scores(self, train: Callable[[], DataFrame]) -> dict[str, Column]:
        """Return the score of each baseline that has a margin, over ``fused_scores``.

        Args:
            train: returns the labelled training rows of ``fused_scores``, whose margins are out of fold: a baseline
                may learn its way back to the label's unit from them.
        """
        return {name: self.score(F.col(column)) for name, column in self.baselines.items() if column != "rank_mean"}

    @abstractmethod
    def student_target(self, label_weight: float) -> Column:
        """Return what the student learns by squared error, over ``fuser`` (the teacher's margin) and ``label``."""

    def student_weight(self, prior: float) -> Column:
        """Return the row weight of the student's own fits, over ``weight`` and ``fuser``; ``prior``: mean label."""
        return F.col(WEIGHT)

    @abstractmethod
    def score_map(self, teacher: DataFrame) -> ScoreMap:
        """Return the way from the student's margin to its published score; ``teacher`` holds out-of-fold margins."""

    def size(self, rows: DataFrame) -> Size:
        """Return how many rows are measured, and what there is to reach among them."""
        found, total = rows.agg(F.count("*"), F.sum(LABEL)).collect()[0]
        if self.binary:
            return Size(rows=found, positives=int(total), prior=total / found)
        return Size(rows=found, total=total, positives=None, prior=None)

    @abstractmethod
    def measure(self, rows: DataFrame, scores: dict[str, Column], k: int) -> dict[str, Measured]:
        """Measure every model on the test rows."""

    @property
    def row_weights(self) -> RowWeights | None:
        """How rare labels are weighed; None where they are not."""
        return None

    def label_bins(self, student: Measured) -> list[LabelBin]:
        """Return the student's errors along the label; none where that is 0 or 1."""
        return []


def task_of(config: Config, store: ModelStore) -> Task:
    """Return the configured task over the files of one phase."""
    if config.task == "regression":
        from remedi_spark.labels.regression import Regression

        return Regression(config, store)
    from remedi_spark.labels.classification import Classification

    return Classification(config, store)
