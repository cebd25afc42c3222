"""Typed configuration: YAML files over a packaged preset, any value from the command line on top."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from remedi_spark.columns import label_column
from remedi_spark.config.adapt import AdaptConfig
from remedi_spark.config.chain import (
    BaseModelsConfig,
    EncodingConfig,
    EvaluationConfig,
    FuserConfig,
    MetaFeaturesConfig,
    ScoresConfig,
    StudentConfig,
)
from remedi_spark.config.features import FeaturesConfig, LabelConfig
from remedi_spark.config.guide import GuideConfig
from remedi_spark.config.loading import merge, parse_overrides, read_yaml, validate
from remedi_spark.config.mlflow import MLflowConfig
from remedi_spark.config.monitoring import MonitoringConfig
from remedi_spark.config.presets import Preset, choose_members, preset
from remedi_spark.config.regression import TASKS, RegressionConfig, check_task
from remedi_spark.config.section import Section
from remedi_spark.config.spark import SparkConfig

__all__ = ["Config", "load_config"]


class Config(Section):
    """Everything that shapes a run; an unknown key anywhere is an error."""

    preset: Preset = "standard"
    """How much work a training does: ``quick``, ``standard`` or ``best``; the rest is laid over what it holds."""
    root: str = "run"
    """Folder, or ``catalog.schema``, of the run's tables."""
    bundle: str | None = None
    """Folder of the model bundle; null: ``model`` below a root that is a folder."""
    access: Literal["owner", "group", "everyone"] = "owner"
    """Who may read a published bundle besides its owner."""
    seed: int = Field(default=0, ge=0, lt=2**20)
    """The one seed: folds, sampling and every fit derive theirs from it."""
    task: Literal["classification", "regression"] = "classification"
    """``classification``: a 0/1 label, scores are probabilities. ``regression``: an amount, scores are amounts."""
    spark: SparkConfig = Field(default_factory=SparkConfig)
    features: FeaturesConfig | None = None
    """Stage 1: how events become owner features; leave it out where a ready feature table enters."""
    label: str | None = None
    """Which of ``features.labels`` is trained on and measured; null: ``features.label``."""
    evaluation: EvaluationConfig = Field(default_factory=EvaluationConfig)
    encoding: EncodingConfig = Field(default_factory=EncodingConfig)
    base_models: BaseModelsConfig
    meta_features: MetaFeaturesConfig = Field(default_factory=MetaFeaturesConfig)
    fuser: FuserConfig = Field(default_factory=FuserConfig)
    student: StudentConfig
    scores: ScoresConfig = Field(default_factory=ScoresConfig)
    regression: RegressionConfig = Field(default_factory=RegressionConfig)
    monitoring: MonitoringConfig = Field(default_factory=MonitoringConfig)
    mlflow: MLflowConfig = Field(default_factory=MLflowConfig)
    adapt: AdaptConfig = Field(default_factory=AdaptConfig)
    """Meta-learning across segments: ``remedi adapt``."""
    guide: GuideConfig | None = None
    """What to show each owner next: ``remedi guide``."""

    @model_validator(mode="after")
    def _one_task(self) -> Self:
        known = [] if self.features is None else list(self.features.labels)
        if self.label is not None and self.label not in known:
            listed = ", ".join(known) or "none"
            raise ValueError(f"label: found {self.label!r}, expected a name of features.labels ({listed}), or null")
        check_task(self)
        return self

    def with_embargo(self) -> Self:
        """Keep training labels out of the test period: gap + horizon days lie between them."""
        if self.target is None:
            return self
        days = self.target.gap_days + self.target.horizon_days
        return self.model_copy(update={"evaluation": self.evaluation.model_copy(update={"embargo_days": days})})

    def with_guide(self, **given: Any) -> Self:
        """Return it with some settings of the guide changed; None leaves one as it is."""
        if self.guide is None:
            return self
        asked = {name: value for name, value in given.items() if value is not None}
        changed = validate(GuideConfig, merge(self.guide.model_dump(), asked), "guide")
        return self.model_copy(update={"guide": changed})

    def label_name(self) -> str:
        """Say what is predicted, in words."""
        return "label" if self.target is None else self.target.in_words()

    @property
    def target(self) -> LabelConfig | None:
        """The label that is predicted; None where a ready table has it."""
        if self.features is None:
            return None
        return self.features.label if self.label is None else self.features.labels[self.label]

    @property
    def label_columns(self) -> tuple[str, list[str]]:
        """Columns of ``owner_features``: of the label that is predicted, and of all others, which are no features."""
        chosen, known = label_column(self.label), [] if self.features is None else self.features.labels
        return chosen, [name for name in map(label_column, (None, *known)) if name != chosen]


def load_config(path: str | Path | None = None, overrides: Iterable[str] = (), **fixed: Any) -> Config:
    """Read a packaged preset, then a file, then ``KEY=VALUE`` overrides, then keyword arguments.

    Raises:
        InputError: an unknown key (the nearest one is named), or a value out of its range.
    """
    asked = read_yaml(Path(path)) if path is not None else {}
    asked = merge(asked, parse_overrides(overrides))
    asked = merge(asked, {key: value for key, value in fixed.items() if value is not None})
    task = asked.get("task", TASKS[0])
    base = preset(str(asked.get("preset", "standard")), task if task in TASKS else TASKS[0])
    return validate(Config, choose_members(merge(base, asked)), str(path or "defaults"))
