"""``metrics.json``: what was measured of every model on the test rows, and what the run found on the way."""

from __future__ import annotations

from typing import Any

from remedi_spark.config.regression import RegressionConfig
from remedi_spark.labels.measured import Fidelity
from remedi_spark.labels.weights import RowWeights
from remedi_spark.report.page.model import FailedMember, Shipped
from remedi_spark.storage.strict_json import Count, Number, Record


class Ablation(Record):
    """What the whole method loses without one of its parts, on the same rows."""

    instead_of: str
    """The whole method's part: ``fuser`` or ``student``."""
    ap_lost: tuple[Number, Number, Number]
    """AP of the whole less that of the ablation, and its 95 % interval."""


class Learned(Record):
    """How many training rows of the measured phase there were, and how many of them every fit learned from."""

    rows: Count
    rows_used: Count
    positives_used: Count

    @property
    def all(self) -> bool:
        """Whether every row was learned from."""
        return self.rows_used == self.rows


class Metrics(Record):
    """The file, in its order; a key with a default is left out where it does not apply."""

    task: str
    label: str
    rows: Count
    total: Number = None
    positives: Count | None
    prior: Number
    k: Count
    learned_from: Learned | None = None
    """Where that is not all of the training rows."""
    measured_on: str
    budget: float
    seed: int
    models: dict[str, dict[str, Number]]
    intervals: dict[str, dict[str, tuple[Number, Number]]]
    shots: dict[str, dict[str, dict[str, Number]]] | None = None
    retention: dict[str, Number]
    regression: RegressionConfig | None = None
    row_weights: RowWeights | None = None
    ablations: dict[str, Ablation] | None = None
    fidelity: Fidelity
    student: Shipped
    warnings: list[str]
    failed: list[FailedMember]
    fits: dict[str, dict[str, list[int]]]
    """By model and fact (``rows_used``, ``trees``, ``epochs``), by fold."""

    def tree(self) -> dict[str, Any]:
        """Return what is written."""
        optional = {name for name, field in Metrics.model_fields.items() if not field.is_required()}
        return self.model_dump(mode="json", exclude={name for name in optional if getattr(self, name) is None})
