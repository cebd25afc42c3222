"""One small contract for all learners: fit where the rows are, then predict anywhere from bytes.

A learner is a function of Arrow tables. That the rows are a Spark frame (:mod:`remedi_spark.models.spark_examples`) or
a table in this process (:mod:`remedi_spark.models.table_examples`) is not its business, but for the fits of several
workers that libraries do on Spark by themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from remedi_spark.maths.label_scale import LabelScale
from remedi_spark.models.reference import Reference
from remedi_spark.samples.layout import Layout
from remedi_spark.spark.ran import Ran
from remedi_spark.storage.fitted import Fitted

if TYPE_CHECKING:
    from remedi_spark.models.nets.smoothing import FeatureSmoothing

Array = npt.NDArray[np.float64]

X = "x"
TARGET = "target"
ROW_WEIGHT = "weight"
VALID = "valid"
AMOUNT = "amount"
"""Optional column of a training set: the label in its own unit, beside the standardised target."""
LABELS = "labels"
"""Optional column of a training set: the 0/1 label beside a teacher's logit, null where unknown."""


@dataclass(frozen=True)
class Amounts:
    """What learners of amounts are told beside the standardised target.

    Attributes:
        scale: between target and amount.
        smoothing: of a net's last hidden layer; None: none.
    """

    scale: LabelScale
    smoothing: FeatureSmoothing | None = None


Work = Callable[[pa.Table], bytes]
"""What a worker runs on its rows; it captures plain values only."""


class Examples(Protocol):
    """The rows of one fit: ``x`` (array<double> of ``layout.width``), ``target`` (double), ``weight`` (double),
    ``valid`` (boolean, the inner validation rows that decide when to stop) and ``row_hash`` (order of the rows).
    """

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        ...

    def run(self, work: Work, columns: Sequence[str], workers: int) -> list[Ran]:
        """Run ``work`` once a worker, on the rows that are the worker's by their hash, in its order; by rank."""
        ...

    def at_most(self, limit: int, *, rows: int, positives: int) -> Self:
        """Return about ``limit`` of so many rows, the positives first, with weights that stand for all."""
        ...

    def with_target(self, column: str) -> Self:
        """Return the rows with another column as the target."""
        ...

    def above_zero(self) -> Self:
        """Return the rows whose target is above 0."""
        ...

    def whether_above_zero(self) -> Self:
        """Return the rows with a target of 1 where it is above 0, else of 0."""
        ...


@dataclass(frozen=True)
class TrainingSet:
    """Rows for one fit.

    Attributes:
        examples: the rows.
        layout: what each number of ``x`` is.
        loss: ``logistic`` for a 0/1 target, ``mse`` for a real one.
        prior: weighted mean target of the training rows, known beforehand.
        rows: about how many rows the frame has.
        workers: how many train together.
        seed: of everything random in the fit.
        amounts: set where the target is a standardised amount; the rows then have the column ``amount`` too.
    """

    examples: Examples
    layout: Layout
    loss: str
    prior: float
    rows: int
    workers: int
    seed: int
    amounts: Amounts | None = None
    positives: int = 0
    """About how many of the rows have a label of 1, where the loss is ``logistic``."""


class Learner(Protocol):
    """Fits one kind of model."""

    def fit(self, data: TrainingSet) -> Fitted:
        """Fit on ``data``.

        Raises:
            FitError: the fit ended without a usable model.
        """
        ...


class Predictor(Protocol):
    """Scores encoded rows: (n, width) -> margins (n,): log-odds, or the standardised amount."""

    def __call__(self, x: Array) -> Array:
        """Return one margin a row."""
        ...

    def contributions(self, x: Array, reference: Reference) -> tuple[Array, Array]:
        """Return what each player of the reference adds to the margin, (n, size), and what it is added to, (n,).

        That is the reference row's, unless the model explains rows against one of its own.
        """
        ...


class FitError(RuntimeError):
    """A fit ended without a usable model."""
