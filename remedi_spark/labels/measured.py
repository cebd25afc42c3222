"""What is measured of models on the test rows, typed from there to ``metrics.json`` and the page; no Spark."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from pydantic import Field, model_validator

from remedi_spark.storage.strict_json import Count, Number, Record, Share


class Size(Record):
    """How many rows were measured, and what there is to reach among them."""

    rows: Count
    total: Number = None
    """Sum of the labels; regression only."""
    positives: Count | None
    """``None`` for regression."""
    prior: Number
    """positives / rows, in [0, 1]."""


class Fidelity(Record):
    """How closely the student follows its teacher."""

    spearman: Number = None
    """Rank correlation of their scores; ``None`` where one of them is constant."""
    top_k_overlap: Number = None
    """Share of the teacher's best k that are in the student's best k."""


class GainsCurve(Record):
    """Recall (of amounts: share of their total) against the share contacted, best first; the lift is recall / share."""

    model: str
    """A name of :attr:`Report.models`."""
    share: list[Share]
    """Rising, in (0, 1]; (0, 0) is implied."""
    recall: list[Share]

    @model_validator(mode="after")
    def _check(self) -> Self:
        self.require_equal_lengths("share", "recall")
        if not self.share or self.share != sorted(set(self.share)):
            raise ValueError(f"GainsCurve of {self.model!r}: share must have a point and rise from point to point")
        return self


class ReliabilityBin(Record):
    """One bin of the reliability curve: mean prediction, observed rate and the rate's 95 % interval."""

    predicted: Share
    observed: Share
    rows: Count
    lower: Number = None
    upper: Number = None


class Segment(Record):
    """The student inside one level of one column, at the same cut-off score as everywhere else."""

    column: str
    level: str
    rows: Count
    positives: Count
    recall_at_k: Number = None
    lift_at_k: Number = None
    ap: Number = None


class SnapshotResult(Record):
    """The student on one snapshot."""

    snapshot: str
    """ISO date."""
    rows: Count
    positives: Count
    ap: Number = None
    recall_at_k: Number = None
    lift_at_k: Number = None


class LabelBin(Record):
    """Regression: one bin of the label, with its weight in training and the student's error."""

    label: float
    """Centre of the bin."""
    rows: Count
    """Training rows."""
    weight: Number = None
    """Label distribution smoothing weight, mean 1 over the rows."""
    error: Number = None
    """Mean absolute error on the measured rows."""


class Measured(Record):
    """What is measured of one model."""

    model: str
    metrics: dict[str, Number]
    intervals: dict[str, tuple[Number, Number]]
    """95 % intervals of some of the metrics, (low, high)."""
    gains: GainsCurve | None
    """``None`` where there is nothing to reach."""
    reliability: list[ReliabilityBin] = Field(default_factory=list)
    """Empty: the scores are no probabilities."""
    shots: dict[str, dict[str, Number]] = Field(default_factory=dict)
    """Regression: rows and errors by how many training rows had a label like it."""
    error_by_bin: list[Number] = Field(default_factory=list)
    """Regression: mean absolute error by label bin; ``None`` without rows."""


def retention(student: Measured, teacher: Measured, names: Iterable[str]) -> dict[str, Number]:
    """Return by metric what the student keeps of its teacher; 1: nothing lost, of an error (mae) too."""
    pairs = {name: (student.metrics[name], teacher.metrics[name]) for name in names}
    return {name: _ratio(*(pair[::-1] if name == "mae" else pair)) for name, pair in pairs.items()}


def _ratio(above: Number, below: Number) -> Number:
    return above / below if above is not None and below else None
