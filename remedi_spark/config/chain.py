"""Configuration of stages 2 to 6: folds, base models, fuser, student, scores.

The settings of the families of models are here rather than beside each family: ``models`` may contain any of them,
which pydantic tells apart by ``kind``, so that the union must know all; and configuration imports no other room.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator

from remedi_spark.config.model_names import check_model_names
from remedi_spark.config.section import Section

Share = Annotated[float, Field(gt=0, lt=1)]
Expert = Literal["convex", "stack", "mlp"]
EXPERTS: tuple[Expert, ...] = get_args(Expert)
"""Of the fuser."""


class EvaluationConfig(Section):
    """Which rows are test rows, that no stage is trained on, so that every metric is honest."""

    test_from: date | None = None
    """First snapshot of the test part; null: the latest ``test_share`` of the rows."""
    train_from: date | None = None
    """First snapshot that is trained on; null: the earliest. Habits of years ago may no longer hold, and rows cost
    time."""
    test_share: Share = 0.25
    """Share of the rows (with a time: the latest ones) or of the owners (without) that is held out."""
    max_test_rows: int = Field(default=1_000_000, ge=1000)
    """Test rows that are measured, about: of more, those of owners chosen by hash."""
    embargo_days: int = Field(default=0, ge=0)
    """Training snapshots later than (first test snapshot - embargo) are left out: their labels look into the test
    period. ``remedi run`` sets it to gap + horizon."""
    bootstrap: int = Field(default=200, ge=0)
    """Bootstrap resamples (of owners) behind each interval; 0: no intervals."""


class EncodingConfig(Section):
    """How columns become numbers; everything is fitted on training rows, cross-fitted by fold."""

    smoothing: float = Field(default=20.0, gt=0)
    """Rows' worth of prior mixed into the target encoding of a level (m-estimate)."""
    max_levels: int = Field(default=20_000, ge=2)
    """Most frequent levels kept per categorical column; rarer ones count as unseen."""
    min_rows: int = Field(default=20, ge=1)
    """Training rows that a level needs to be kept; rarer ones count as unseen. A model thus holds no name, address or
    plate of single owners."""
    max_passing: float = Field(default=0.2, ge=0, le=1)
    """With a time: a category column is not read if its levels come and go, so that this share of the latest quarter of
    the training rows holds levels that the earlier rows lack, beyond what is so by chance. What a level of the past
    says is lost on rows to score, and misleads. 1: read every column."""
    combine: int = Field(default=12, ge=0, le=24)
    """Of so many numbers that trees gain most from, the strongest differences and ratios become inputs, unless a trial
    errs more with them out of fold (0/1 labels only); 0: never."""
    max_codes: int = Field(default=28, ge=2)
    """Columns with at most this many levels are also given to the models as categories (SynapseML crashes far above
    it); columns with more are seen through their target encoding and frequency."""


class MemberConfig(Section):
    """What every base model and every part of a student shares."""

    inputs: Literal["all", "codes"] = "all"
    """``codes``: without the frequency and target encodings of columns that have codes as well; members that see
    different encodings err differently."""


class LightGBMConfig(MemberConfig):
    """A LightGBM, trained by SynapseML or by its own library in one Spark task or several."""

    kind: Literal["lightgbm"] = "lightgbm"
    engine: Literal["auto", "synapseml", "native"] = "auto"
    """``native``: LightGBM's own library, inside one Spark task or, with several workers, in its own ring of tasks;
    ``auto``: that up to 20 million numbers (rows x inputs), SynapseML above and wherever a fit takes several workers,
    if the session has it. One worker grows the same trees by both but for the focal loss, whose gradients SynapseML
    rounds to 32 bits; the native fit is several times faster on small tables."""
    enabled: bool | Literal["zeros"] = True
    """``zeros``: only where labels are amounts of 0 or more and at least one in twenty is 0."""
    objective: Literal["binary", "focal", "l2", "l1", "huber", "expectile", "tweedie", "hurdle"] | None = None
    """null: log-loss for 0/1 labels, squared error for amounts. ``huber`` is quadratic within one standard deviation of
    the label; ``expectile`` weighs errors below the label by ``expectile_level`` and those above it by the rest (native
    engine only); ``tweedie`` and ``hurdle`` are for amounts of 0 or more with many zeros: one model with a log link, or
    the chance of an amount above 0 times the mean of such an amount."""
    tweedie_power: float = Field(default=1.5, gt=1, lt=2)
    """Variance = mean to this power: near 1 counts, near 2 amounts."""
    expectile_level: float = Field(default=0.6, gt=0, lt=1)
    """Above .5 predictions rise from the mean towards the upper tail; .5 is squared error."""
    focal_alpha: Share = 0.25
    focal_gamma: float = Field(default=2.0, ge=0)
    num_iterations: int = Field(default=1000, ge=1)
    learning_rate: float = Field(default=0.05, gt=0)
    num_leaves: int = Field(default=31, ge=2)
    max_depth: int = -1
    min_data_in_leaf: int = Field(default=20, ge=1)
    feature_fraction: float = Field(default=1.0, gt=0, le=1)
    bagging_fraction: float = Field(default=1.0, gt=0, le=1)
    lambda_l1: float = Field(default=0.0, ge=0)
    lambda_l2: float = Field(default=0.0, ge=0)
    max_bin: int = Field(default=255, ge=2)
    extra_trees: bool = False
    """Draw one random threshold a feature and node (extremely randomised trees)."""
    early_stopping: int = Field(default=50, ge=1)
    """Rounds without a better inner-validation loss before training stops."""
    refit_below: int = Field(default=30_000, ge=0)
    """Up to this many rows the model is fitted again on all of them, inner validation included, for as many rounds as
    were best; 0: never."""

    @model_validator(mode="after")
    def _native_loss(self) -> Self:
        if self.objective == "expectile" and self.engine == "synapseml":
            raise ValueError(
                "engine: found synapseml with objective expectile, whose loss it does not take; use native"
            )
        return self


class XGBoostConfig(MemberConfig):
    """An XGBoost model trained by ``xgboost.spark``."""

    kind: Literal["xgboost"] = "xgboost"
    enabled: bool | Literal["zeros"] = True
    """As for LightGBM."""
    objective: Literal["binary", "l2", "l1", "huber", "tweedie"] | None = None
    """As for LightGBM."""
    tweedie_power: float = Field(default=1.5, gt=1, lt=2)
    num_iterations: int = Field(default=1000, ge=1)
    learning_rate: float = Field(default=0.05, gt=0)
    max_depth: int = Field(default=6, ge=1)
    min_child_weight: float = Field(default=1.0, ge=0)
    subsample: float = Field(default=1.0, gt=0, le=1)
    colsample_bytree: float = Field(default=1.0, gt=0, le=1)
    reg_lambda: float = Field(default=1.0, ge=0)
    early_stopping: int = Field(default=50, ge=1)
    refit_below: int = Field(default=30_000, ge=0)
    """As for LightGBM."""


class CatBoostConfig(MemberConfig):
    """A CatBoost model, trained inside one Spark task."""

    kind: Literal["catboost"] = "catboost"
    enabled: bool = True
    categories: bool = False
    """Read codes as categories, by CatBoost's ordered target statistics, instead of as numbers; use it with
    ``inputs: codes``. Takes several times as long."""
    objective: Literal["binary", "l2", "l1", "huber"] | None = None
    """As for LightGBM."""
    num_iterations: int = Field(default=1000, ge=1)
    learning_rate: float = Field(default=0.05, gt=0)
    depth: int = Field(default=6, ge=1, le=16)
    feature_fraction: float = Field(default=1.0, gt=0, le=1)
    """Share of the columns that are looked at for each level of a tree."""
    l2_leaf_reg: float = Field(default=3.0, ge=0)
    early_stopping: int = Field(default=50, ge=1)
    refit_below: int = Field(default=30_000, ge=0)
    """As for LightGBM."""
    max_rows: int = Field(default=1_000_000, ge=1000)
    """Of more rows among those that base models learn from, all positives and a share of the others, chosen by hash,
    are trained on, and the others weigh more in return: one task must hold them."""


class NetConfig(MemberConfig):
    """What every torch learner shares: optimiser, epochs, early stopping."""

    enabled: bool = True
    epochs: int = Field(default=40, ge=1)
    max_steps: int = Field(default=3000, ge=1)
    """Upper bound on optimiser steps, whatever the number of rows."""
    batch_size: int | None = Field(default=None, ge=2)
    """Rows per optimiser step over all workers together; null: about a fortieth of the training rows, 64 to 4096."""
    learning_rate: float = Field(default=3e-3, gt=0)
    weight_decay: float = Field(default=3e-4, ge=0)
    patience: int = Field(default=6, ge=1)
    """Epochs without a better inner-validation loss before training stops."""
    n_bins: int = Field(default=16, ge=2)
    """Quantile bins of the piecewise-linear numeric embedding (arXiv 2203.05556)."""
    embedding_dim: int = Field(default=8, ge=1)
    """Width of the embedding of one feature."""
    dropout: float = Field(default=0.1, ge=0, lt=1)


class MLPConfig(NetConfig):
    """A ReLU MLP on embedded features."""

    kind: Literal["mlp"] = "mlp"
    hidden: tuple[int, ...] = (128, 64)


class TabMConfig(NetConfig):
    """TabM (arXiv 2410.24210): ``members`` MLPs that share most weights."""

    kind: Literal["tabm"] = "tabm"
    members: int = Field(default=16, ge=1)
    blocks: int = Field(default=2, ge=1)
    width: int = Field(default=128, ge=1)


class DeepFMConfig(NetConfig):
    """DeepFM (arXiv 1703.04247) with numeric features embedded too."""

    kind: Literal["deepfm"] = "deepfm"
    hidden: tuple[int, ...] = (64, 64)


class AdditiveConfig(MemberConfig):
    """A piecewise-linear additive model with a ridge penalty: no interactions, strong where positives are few."""

    kind: Literal["additive"] = "additive"
    enabled: bool = True
    n_bins: int = Field(default=8, ge=1)
    """Pieces of the curve of a number."""
    penalties: tuple[Annotated[float, Field(gt=0)], ...] = (3000.0, 1000.0, 300.0, 100.0, 30.0, 10.0, 3.0)
    """Ridge penalties on standardised columns, in rows' worth; the inner validation chooses."""
    iterations: int = Field(default=25, ge=1)
    """L-BFGS iterations for each penalty, which starts from the one before."""


ModelConfig = Annotated[
    LightGBMConfig | XGBoostConfig | CatBoostConfig | AdditiveConfig | MLPConfig | TabMConfig | DeepFMConfig,
    Field(discriminator="kind"),
]


class BaseModelsConfig(Section):
    """Stage 2: K folds times M models."""

    folds: int = Field(default=5, ge=2, le=50)
    max_rows: int | None = Field(default=100_000, ge=100)
    """Rows that a training learns from; null: all. Of more, all rare ones are taken as far as they fill half of it
    (positives; of amounts the upper twentieth) and the others by a hash of the owner. Base models learn from them as
    they are drawn and are brought back to the true prior; in every later fit they stand for all rows by their weights.
    Levels of categories are counted on all rows, and test rows are all measured. Time and memory of every fit follow
    from it."""
    validation_share: Share = 0.15
    """Share of the owners of a fold's training rows that decides when to stop."""
    workers: int | None = Field(default=None, ge=1)
    """Spark tasks that train one model together; null: one, more only where its rows need them
    (``spark.task_memory``)."""
    parallel: int | None = Field(default=None, ge=1)
    """Fits side by side; null: as many as there are free slots."""
    time_limit: float | None = Field(default=None, gt=0)
    """Seconds for the fits of all phases together; null: as long as they take. Cheap members are fitted first, the two
    first ones in any case; what is not done in time is left out of the ensemble in all phases, and named as a failed
    member is. Which members that hits depends on the machine, and so does the result."""
    on_failure: Literal["drop", "stop"] = "drop"
    """What a model is to the run whose fit failed: ``drop`` goes on without it as long as two are left, and names it
    with its reason in log, ``metrics.json`` and at the end; ``stop`` ends the run."""
    models: dict[str, ModelConfig]
    """The ensemble by name; null leaves one of the preset out."""
    only: tuple[str, ...] | None = None
    """Members that take part, of those in ``models``; null: all."""

    @model_validator(mode="after")
    def _named(self) -> Self:
        check_model_names(self.models, "models")
        return self


class MetaFeaturesConfig(Section):
    """Stage 3: relative features."""

    peers: tuple[str, ...] = ()
    """Feature columns whose levels form the peer groups of the ranks across owners."""
    grid: int = Field(default=200, ge=10)
    """Points of the stored quantile grid that gives each model's global percentile."""


class FuserConfig(Section):
    """Stage 4: the mixture of hybrid experts."""

    hidden: int = Field(default=16, ge=1)
    """Width of the expert MLP on the meta-features."""
    steps: int = Field(default=300, ge=1)
    """Full-batch optimiser steps at most."""
    max_rows: int = Field(default=300_000, ge=1)
    """Of more rows among those that base models learn from, a share of the negatives (of amounts, of all rows) is taken
    by hash and weighs more in return: over a million rows, a step takes seconds."""
    learning_rate: float = Field(default=0.003, gt=0)
    l2: float = Field(default=10.0, ge=0)
    """Penalty that pulls every expert and the gate back to the start, the greedy selection; in rows' worth."""
    experts: tuple[Expert, ...] = EXPERTS
    """Which experts take part; one alone for the ablation."""
    seeds: int = Field(default=2, ge=1)
    """Fusers averaged a fold."""
    relative_features: bool = True
    """Give the gate and the experts the deviations, z-scores and ranks; off for the ablation."""


class StudentConfig(Section):
    """Stage 5: models on raw features that stand for the teacher."""

    kind: Literal["distilled", "ensemble", "auto"] = "auto"
    """``distilled``: ``models`` learn from the teacher. ``ensemble``: the base models that the greedy selection took,
    with its weights; as good as the teacher, and several times as much work a row. ``auto``: distilled where that keeps
    ``keep`` of the teacher's ranking, else the ensemble; distilled for amounts."""
    keep: float = Field(default=0.98, ge=0, le=1)
    """Share of the teacher's AP that a distilled student must keep under ``kind: auto``, judged without labels."""
    models: dict[str, ModelConfig]
    """What learns from the teacher, by name: one model each, on all rows; their margins are averaged."""
    synthetic: float = Field(default=5.0, ge=0, le=20)
    """Rows made up for each training row, of which the teacher says what they are worth: the student follows it more
    closely. None are where ``meta_features.peers`` are given, which made-up rows do not have."""
    max_synthetic: int = Field(default=100_000, ge=1)
    """Rows made up at most: every base model scores them."""
    max_spare: int = Field(default=100_000, ge=0)
    """Rows at most, of those beyond ``base_models.max_rows``, of which the teacher says what they are worth; none where
    ``meta_features.peers`` are given."""
    label_weight: float = Field(default=0.0, ge=0, le=1)
    """Share of the label's log-loss mixed into a net's MSE on the teacher's logits."""

    @property
    def enabled(self) -> dict[str, ModelConfig]:
        """The models that are not switched off."""
        return {name: model for name, model in self.models.items() if model.enabled}

    @model_validator(mode="after")
    def _some(self) -> Self:
        check_model_names(self.models, "models")
        if not self.enabled:
            raise ValueError("every model of the student is switched off; enable one")
        return self


class ScoresConfig(Section):
    """Stage 6: what the warehouse reads."""

    model: str | None = None
    """Score with another bundle folder, or a registered model such as ``models:/remedi@champion``; null: the run's."""
    budget: Share = 0.075
    """Share of the owners to contact; K = budget x owners of the snapshot."""
    reasons: int = Field(default=3, ge=0, le=10)
    """Strongest features listed for each of the top K rows."""
    escape_formulas: bool = True
    """CSV only, where ``remedi score`` or ``export`` writes it: a text that a spreadsheet would compute (it begins with
    ``=``, ``+``, ``-``, ``@``, a tab or a carriage return and is no plain number) gets a leading apostrophe."""
