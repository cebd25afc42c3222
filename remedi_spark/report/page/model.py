"""Everything a report shows, as frozen models that go to JSON and back without loss.

Only :class:`Head` is required; a part left at ``None`` or empty leaves its section out of the page. NaN and infinity
become ``None`` and are shown as a dash, because a metric that is undefined (AP without positives) must survive strict
JSON.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from remedi_spark.labels.measured import Fidelity, GainsCurve, LabelBin, ReliabilityBin, Segment, SnapshotResult
from remedi_spark.storage.strict_json import Count, Number, Record, Share

Kind = Literal["base", "baseline", "fuser", "student", "ablation"]


class Head(Record):
    """What was measured, on what, and the budget that the headline speaks of."""

    title: str
    label: str
    """Name of the target, for example ``buys INFANT FORMULA in the next 28 days``."""
    task: Literal["classification", "regression"] = "classification"
    run_id: str
    model_version: str
    generated_at: str
    """Time of the report, ISO 8601."""
    measured_on: str
    learned_from: str = ""
    """Rows that were learned from, in words, where they are not all."""
    """One sentence: which test rows the metrics are from."""
    rows: Count
    """Rows that the metrics are from."""
    positives: Count | None = None
    """Positives among ``rows``; ``None`` for regression."""
    prior: Number = None
    """positives / rows, in [0, 1]."""
    total: Number = None
    """Sum of the labels of ``rows``; regression only."""
    k: Count
    """Rows within the budget."""
    budget: Annotated[float, Field(gt=0.0, le=1.0)]
    """Share of the rows that can be contacted, in (0, 1]."""
    owners: str = "owners"
    """What a row is called, in the plural."""
    buyers: str = "buyers"
    """What a positive is called, in the plural."""

    @property
    def reachable(self) -> float:
        """What contacting every row reaches: all positives, or the total of the labels."""
        return (self.total if self.positives is None else self.positives) or 0


class Verdict(Record):
    """What to do with the last list of the model."""

    decision: Literal["ship", "look", "retrain"]
    reason: str


class ModelResult(Record):
    """One line of the leaderboard or of the ablations."""

    name: str
    kind: Kind
    metrics: dict[str, Number]
    """By name: ap, auc, recall_at_k, precision_at_k, lift_at_k, ndcg_at_k, brier, ece, ks; for regression value_at_k,
    mae, rmse, gmae, sera, spearman. Any other name is shown as it is."""
    intervals: dict[str, tuple[Number, Number]] = Field(default_factory=dict)
    """95 % intervals of some of the metrics, (low, high)."""
    seconds: Number = None
    """Fitting time."""
    rows_used: list[Count] = Field(default_factory=list)
    """Training rows of the fit of each fold, after all caps; empty: unknown."""


class FailedMember(Record):
    """A model that was asked for and is not in the ensemble."""

    model: str
    phase: str = ""
    """``holdout`` (measured) or ``final`` (shipped)."""
    reason: str = ""


class Retention(Record):
    """metric(student) / metric(teacher) on the same rows; 1 = nothing lost."""

    ap: Number = None
    recall_at_k: Number = None
    value_at_k: Number = None
    """Regression only."""
    mae: Number = None
    """Regression only: mae(teacher) / mae(student), so that 1 = nothing lost here too."""


class Shipped(Record):
    """What the student is made of."""

    kind: str
    """``distilled`` or ``ensemble``."""
    names: list[str] = Field(default_factory=list)
    """Of its models."""
    weights: dict[str, float] = Field(default_factory=dict)
    """Of an ensemble's base models."""
    models_each: int = 1
    """Fitted models of each name: one, or one a fold."""
    kept: Number = None
    """Share of the teacher's AP that a distilled student keeps, judged without labels, where it was judged."""


class Experts(Record):
    """The gate of the fuser. E experts."""

    names: list[str]
    mean_weight: list[Share]
    """Mean gate weight of each expert, (E,)."""
    entropy: Number = None
    """Mean entropy of the gate divided by ln E: 0 = one expert a row, 1 = all alike."""
    by_decile: list[list[Share]] = Field(default_factory=list)
    """Mean gate weight by decile of the fused score, best decile first, (10, E)."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        self.require_equal_lengths("names", "mean_weight")
        widths = {len(row) for row in self.by_decile} - {len(self.names)}
        if widths:
            raise ValueError(f"Experts.by_decile: found rows of {widths}, required one weight for each of {self.names}")
        return self


class FeatureImportance(Record):
    """Mean absolute contribution to the score, as a share of the sum over all features."""

    feature: str
    importance: Number


class Explained(Record):
    """The rows that the importance is estimated from; half of them are from the list, and weighed back."""

    rows: Count
    owners: Count


class Effect(Record):
    """Mean score along one feature."""

    feature: str
    values: list[float | str]
    """Bin centres, or the levels of a category."""
    mean_score: list[Number]
    rows: list[Count]

    @model_validator(mode="after")
    def _check(self) -> Self:
        self.require_equal_lengths("values", "mean_score", "rows")
        return self


class InputHealth(Record):
    """One input table: rows read, and rows set aside because they break the contract."""

    name: str
    rows: Count
    quarantined: Count = 0


class FeatureHealth(Record):
    """Nulls and drift of one feature."""

    feature: str
    null_share: Number = None
    psi: Number = None
    """Population stability index, training rows against the measured or scored rows."""


class DataHealth(Record):
    """State of the inputs and the features."""

    inputs: list[InputHealth] = Field(default_factory=list)
    features: list[FeatureHealth] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list)


class TrainingCurve(Record):
    """Loss by iteration of one model on one fold."""

    model: str
    fold: Count
    iteration: list[int]
    train: list[Number]
    valid: list[Number]
    """Empty when the model was trained without validation rows."""
    loss: str = "loss"
    """What the curves measure."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        measured = [name for name in ("train", "valid") if getattr(self, name)]
        self.require_equal_lengths("iteration", *measured)
        return self


class Shot(Record):
    """Regression: errors of one model over the label bins of one density (many > 100 rows, medium, few < 20, zero
    none); ``zeros``: labels of exactly 0, where they are a group of their own."""

    model: str
    shot: Literal["all", "many", "medium", "few", "zero", "zeros"]
    rows: Count
    mae: Number = None
    rmse: Number = None
    gmae: Number = None


class TableVersion(Record):
    """A table the run read or wrote."""

    name: str
    version: str


class StageDuration(Record):
    """Wall time of one stage."""

    stage: str
    seconds: Annotated[float, Field(ge=0.0)]


class Provenance(Record):
    """How the run can be made again."""

    configuration: str = ""
    """YAML."""
    versions: dict[str, str] = Field(default_factory=dict)
    seeds: dict[str, int] = Field(default_factory=dict)
    tables: list[TableVersion] = Field(default_factory=list)
    durations: list[StageDuration] = Field(default_factory=list)


class Report(Record):
    """All that :func:`remedi_spark.report.page.render.render` shows.

    ``Report.model_validate_json(report.model_dump_json())`` equals ``report``, so that a page can be rebuilt
    from the stored JSON.
    """

    head: Head
    verdict: Verdict | None = None
    warnings: list[str] = Field(default_factory=list)
    """What the run found that may make its figures worth less, a sentence each."""
    failed: list[FailedMember] = Field(default_factory=list)
    models: list[ModelResult] = Field(default_factory=list)
    retention: Retention | None = None
    shipped: Shipped | None = None
    fidelity: Fidelity | None = None
    gains: list[GainsCurve] = Field(default_factory=list)
    calibration: list[ReliabilityBin] = Field(default_factory=list)
    """Of the student."""
    experts: Experts | None = None
    ablations: list[ModelResult] = Field(default_factory=list)
    importance: list[FeatureImportance] = Field(default_factory=list)
    explained: Explained | None = None
    effects: list[Effect] = Field(default_factory=list)
    """In the order to show them; the page draws the first twelve."""
    segments: list[Segment] = Field(default_factory=list)
    over_time: list[SnapshotResult] = Field(default_factory=list)
    data_health: DataHealth | None = None
    training_curves: list[TrainingCurve] = Field(default_factory=list)
    shots: list[Shot] = Field(default_factory=list)
    label_bins: list[LabelBin] = Field(default_factory=list)
    provenance: Provenance | None = None
