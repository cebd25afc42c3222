"""Configuration of meta-learning across segments: the ``adapt`` section."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from remedi_spark.config.section import Section

Days = Annotated[int, Field(ge=1, le=36_500)]
Share = Annotated[float, Field(gt=0, lt=1)]


class HistoryConfig(Section):
    """Segments out of an event log: each level of a column is one, with the owners' own history in it as features."""

    source: str
    """Name of the source under ``features.sources``."""
    column: str
    """Column whose levels are the segments, such as the product category."""
    parent: str | None = None
    """Column that a segment belongs to (such as its department); the owners' history in it becomes features too."""
    value: str
    """Numeric column whose sums become features."""
    windows: list[Days] = Field(default=[7, 28, 84, 168], min_length=1)
    """Windows (t - W, t] in days."""
    own: bool = True
    """False: no features from the segment itself, as for a segment that is brand new."""
    rates: tuple[float, float] = (0.005, 0.1)
    """Segments whose share of positive rows lies outside are left out."""


class SplitConfig(Section):
    """Which whole segments are for learning, for tuning and for the final look."""

    test_every: int = Field(default=3, ge=0)
    """Every so many-th segment by name is for the final look; 0: none."""
    validation_every: int = Field(default=4, ge=2)
    """Of the others, every so many-th is for tuning."""
    learn_until: date | None = None
    """Last snapshot of meta-training and tuning; null: all."""


class TaskConfig(Section):
    """How tasks are drawn from a segment's rows."""

    positives: tuple[Annotated[int, Field(ge=1)], ...] = (5, 10, 20, 50)
    """K of the support; each task of meta-training draws one of them."""
    support_rows: int = Field(default=512, ge=2)
    """Most rows of a support: K positives and negatives at the segment's rate, beyond this weighted up."""
    query_rows: int = Field(default=512, ge=2)
    """Most query rows of a task in meta-training; all positives (up to half of them) and a sample of negatives."""
    gap_days: int = Field(default=28, ge=0)
    """Support snapshots lie at least so many days before the query's: their labels are then known."""
    history_days: Days = 140
    """Support snapshots lie at most so many days before the query's."""
    min_positives: int = Field(default=5, ge=1)
    """Owners with a positive that each side (support and query) must be able to have, or the segment is refused."""


class AdaptNetConfig(Section):
    """The net that is meta-trained."""

    kind: Literal["mlp", "deepfm", "ft_transformer"] = "mlp"
    embedding_dim: int = Field(default=4, ge=1)
    hidden: tuple[int, ...] = (64, 32)
    """Layers of ``mlp`` and ``deepfm``."""
    blocks: int = Field(default=2, ge=1)
    """Blocks of ``ft_transformer``."""
    heads: int = Field(default=2, ge=1)
    """Attention heads of ``ft_transformer``; divides ``embedding_dim``."""
    n_bins: int = Field(default=8, ge=2)
    """Quantile bins of the piecewise-linear numeric embedding."""

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.kind == "ft_transformer" and self.embedding_dim % self.heads:
            raise ValueError(f"embedding_dim {self.embedding_dim} is not a multiple of heads {self.heads}")
        return self

    def spec(self) -> dict[str, object]:
        """Return what :func:`remedi_spark.models.nets.models.build` takes, without ``stats``."""
        common = {"kind": self.kind, "embedding_dim": self.embedding_dim, "dropout": 0.0}
        if self.kind == "ft_transformer":
            return {**common, "blocks": self.blocks, "heads": self.heads}
        return {**common, "hidden": list(self.hidden)}


class PooledConfig(Section):
    """The pooled net: all segments' rows in one training; meta-training starts from it."""

    epochs: int = Field(default=20, ge=1)
    batch_size: int = Field(default=4096, ge=2)
    learning_rate: float = Field(default=2e-3, gt=0)
    weight_decay: float = Field(default=3e-4, ge=0)
    patience: int = Field(default=3, ge=1)
    fine_tune_rate: float = Field(default=0.1, gt=0)
    """Step of gradient descent on the support in the arm ``pooled + fine-tuned``."""
    fine_tune_steps: int = Field(default=10, ge=1)
    fine_tune_layers: Literal["all", "body", "wide", "head"] = "all"


class TeacherConfig(Section):
    """What a distilled start learns from: the mean margin of trees and nets that did not see a row's owner."""

    folds: int = Field(default=3, ge=2)
    """Folds of owners; a row is scored by the models of the other folds."""
    trees: int = Field(default=2, ge=0)
    """LightGBM models a fold, which differ by their seed."""
    nets: int = Field(default=0, ge=0)
    """Pooled nets a fold, which differ by their seed."""
    rounds: int = Field(default=300, ge=1)
    learning_rate: float = Field(default=0.05, gt=0)
    leaves: int = Field(default=15, ge=2)
    rows_in_leaf: int = Field(default=200, ge=1)
    columns: float = Field(default=0.3, gt=0, le=1)
    """Share of the columns that each tree may read."""
    epochs: int = Field(default=15, ge=1)
    """Most epochs of the net that learns from them: means of models are less noisy than labels, and bear more."""
    max_rows: int = Field(default=300_000, ge=1)
    """Rows that the trees learn from, about: beyond it, whole owners are left out. Each worker holds them once."""

    @model_validator(mode="after")
    def _someone_teaches(self) -> Self:
        if not self.trees + self.nets:
            raise ValueError("trees and nets are both 0; a teacher needs one model, or set adapt.start=pooled")
        return self


class MetaConfig(Section):
    """Meta-training."""

    algorithm: Literal["maml", "fomaml", "anil", "reptile"] = "maml"
    start: Literal["pooled", "random"] = "pooled"
    """Where θ starts."""
    iterations: int = Field(default=400, ge=1)
    tasks_per_batch: int = Field(default=8, ge=1)
    meta_rate: float = Field(default=1e-3, gt=0)
    inner_rate: float = Field(default=0.05, gt=0)
    inner_steps: int = Field(default=5, ge=1)
    layers: Literal["all", "body", "wide", "head"] = "all"
    """What adapts: ``body`` is all but the embeddings, ``wide`` the head and DeepFM's linear part; ANIL: ``head``."""
    learn_rates: Literal["no", "layer", "weight"] = "no"
    """Learn the inner rates (Meta-SGD): one a parameter tensor, or one a weight."""
    rate_factor: float = Field(default=30.0, gt=0)
    """Learned rates move by their logarithm, this many times as fast as the net's weights."""
    inner_clip: float | None = Field(default=10.0, gt=0)
    meta_clip: float | None = Field(default=10.0, gt=0)
    proximal: float = Field(default=0.0, ge=0)
    """Pull towards θ in every inner step."""
    check_every: int = Field(default=50, ge=1)
    patience: int = Field(default=4, ge=1)

    @model_validator(mode="after")
    def _reptile_has_no_rates(self) -> Self:
        if self.algorithm == "reptile" and self.learn_rates != "no":
            raise ValueError("learn_rates needs a meta-gradient; Reptile has none, use maml, fomaml or anil")
        return self


class BayesConfig(Section):
    """A linear head on principal components of the inputs, under a Gaussian prior learned from the segments."""

    dims: int = Field(default=24, ge=0)
    """Most principal components; 0: no such arm."""
    scales: tuple[Annotated[float, Field(gt=0)], ...] = Field(default=(0.0625, 0.125, 0.25, 0.5, 1.0), min_length=1)
    """Factors on the learned covariance, tried on the validation segments at each K."""


class FitConfig(Section):
    """Adapting to one segment."""

    arm: Literal["validated", "evidence", "pooled", "fine_tuned", "adapted", "bayes", "trees"] = "validated"
    """The arm to use: the one that ranked best on the validation segments at the nearest K; the one with the largest
    expected AP by these and the support together; or one by name."""
    folds: int = Field(default=5, ge=2)
    """Folds of the cross-validation on the support that says which arm to trust."""
    repeats: int = Field(default=3, ge=1)
    """Times the folds are dealt anew."""
    budget: Share = 0.075
    """Share of owners that the expected lift and the A/B test are about."""
    lift: float = Field(default=1.2, gt=1)
    """Lift over a random choice that the A/B test must be able to show."""


class SearchConfig(Section):
    """Search of hyper-parameters on the meta-validation segments (Optuna)."""

    trials: int = Field(default=0, ge=0)
    """0: no search."""
    iterations: int = Field(default=150, ge=1)
    """Meta-batches of one trial."""


class AdaptConfig(Section):
    """Meta-learning across segments."""

    history: HistoryConfig | None = None
    """Build the rows from events; null: ``--table`` brings them."""
    segment: list[str] = Field(default_factory=list)
    """Columns of a ready table that together name the segment."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Or: segment name -> SQL condition over the columns of a ready table of owner features."""
    drop: list[str] = Field(default_factory=list)
    """Columns of a ready table that are not features."""
    split: SplitConfig = SplitConfig()
    tasks: TaskConfig = TaskConfig()
    net: AdaptNetConfig = AdaptNetConfig()
    start: Literal["distilled", "pooled"] = "distilled"
    """What the arms start from: a net that learned from a teacher of trees and nets, or from the labels alone."""
    pooled: PooledConfig = PooledConfig()
    teacher: TeacherConfig = TeacherConfig()
    meta: MetaConfig = MetaConfig()
    bayes: BayesConfig = BayesConfig()
    fit: FitConfig = FitConfig()
    search: SearchConfig = SearchConfig()
    workers: int = Field(default=1, ge=1)
    """Spark tasks that meta-train together."""
