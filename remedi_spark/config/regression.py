"""Configuration of ``task: regression``: the scale that is learned on, and smoothing over rare labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from remedi_spark.config.section import Section

if TYPE_CHECKING:
    from remedi_spark.config import Config

TASKS = ("classification", "regression")
ZERO_INFLATED = 0.05
"""Share of zeros from which a label has a point mass at 0."""
NEEDS_NO_NEGATIVES = ("tweedie", "hurdle")
"""Objectives of labels that are never below 0."""
NOT_FOR_STUDENTS = (*NEEDS_NO_NEGATIVES, "expectile")
"""A student learns its teacher's predictions by squared error."""
OF_TASK = {
    "classification": ("binary", "focal"),
    "regression": ("l2", "l1", "huber", "expectile", *NEEDS_NO_NEGATIVES),
}
"""Objectives that a base model may have; without one it takes the task's own loss."""


class KernelConfig(Section):
    """A window over label bins (arXiv 2102.09554)."""

    enabled: bool = True
    kernel: Literal["gaussian", "triang", "laplace"] = "gaussian"
    kernel_size: int = Field(default=5, ge=1)
    """Bins of the window, odd."""
    sigma: float = Field(default=2.0, gt=0)
    """Width of the window in bins."""

    @model_validator(mode="after")
    def _odd(self) -> Self:
        if self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size: found {self.kernel_size}, expected an odd number of bins")
        return self


Weights = Literal["none", "sqrt_inv", "inverse", "relevance"]
"""Kinds of row weights."""


class Weighting(NamedTuple):
    """Row weights: a share of them is by the label, the rest is 1.

    By the inverse of the smoothed density, by that of its root, or by the relevance: the squared errors are then SERA.
    """

    kind: Weights
    share: float = 1.0

    @property
    def name(self) -> str:
        """Of a column and of an entry in files: ``inverse``, or ``inverse_25`` for a share of .25."""
        return self.kind if self.share == 1 else f"{self.kind}_{100 * self.share:.0f}"


TRIED = (Weighting("none"), Weighting("sqrt_inv", 0.5), Weighting("inverse", 0.25), Weighting("inverse", 0.5))
"""What trial fits choose among (``docs/measurements/2026-11-30-amounts.md``)."""


class LDSConfig(KernelConfig):
    """Label distribution smoothing: row weights for every learner."""

    reweight: Literal["auto", "sqrt_inv", "inverse", "relevance"] = "auto"
    """Weigh by the inverse of the smoothed density's root, or of the smoothed density itself; ``auto``: by a share of
    either, or not at all, as trial fits on this table show what pays (``labels/weights.py``). ``relevance``: by how
    extreme the label is, so that every fit minimises SERA (on ``scale``) to the ``share``; labels near the median have
    no weight at a share of 1."""
    share: float = Field(default=1.0, gt=0, le=1)
    """Share of a row's weight that is by its label; the rest is 1. One fit under such weights minimises the blend of
    the weighted and of the plain loss. ``auto`` chooses it."""
    zeros_apart: bool = True
    """Labels of exactly 0 are a point mass, not a density: where at least one in twenty is 0 they keep weight 1, and
    the others are weighed among themselves. False: as the paper, which has no such labels."""

    @model_validator(mode="after")
    def _chosen_once(self) -> Self:
        if self.reweight == "auto" and self.share != 1:
            raise ValueError(f"share: found {self.share:g} with reweight auto, which chooses it; set reweight as well")
        return self

    @property
    def weightings(self) -> tuple[Weighting, ...]:
        """The weights in question."""
        if not self.enabled:
            return (Weighting("none"),)
        return TRIED if self.reweight == "auto" else (Weighting(self.reweight, self.share),)


class FDSConfig(KernelConfig):
    """Feature distribution smoothing in the last hidden layer of every base net; off at inference.

    Not switched on by default: on the tables of ``docs/regression.md`` it gained nothing that an interval could tell.
    """

    enabled: bool = False
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Share of the old statistics that an epoch keeps."""


class RegressionConfig(Section):
    """What only a regression has."""

    scale: Literal["linear", "asinh"] = "asinh"
    """What models learn: the label as it is, or asinh(label / typical size), which is linear near 0 and logarithmic far
    from it. Standardised in both cases."""
    bins: int = Field(default=100, ge=2, le=10_000)
    """Bins of equal width on ``scale``, between the lowest and the highest training label: for LDS, FDS and the
    report's errors by label."""
    lds: LDSConfig = Field(default_factory=LDSConfig)
    fds: FDSConfig = Field(default_factory=FDSConfig)
    many: int = Field(default=100, ge=1)
    """The report calls a label bin with more training rows many-shot."""
    few: int = Field(default=20, ge=1)
    """The report calls a label bin with fewer training rows few-shot."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for name, smoothing in (("lds", self.lds), ("fds", self.fds)):
            if smoothing.kernel_size > self.bins:
                raise ValueError(f"{name}.kernel_size: found {smoothing.kernel_size} for {self.bins} bins; lower it")
        if self.few > self.many:
            raise ValueError(f"few: found {self.few}, expected at most many ({self.many})")
        return self


def learner_without_negatives(config: Config) -> str | None:
    """Name the first member that was switched on for good and takes amounts of 0 or more only; None: there is none."""
    if config.task != "regression":
        return None
    for name, model in config.base_models.models.items():
        objective = getattr(model, "objective", None)
        if model.enabled is True and objective in NEEDS_NO_NEGATIVES:
            return f"base_models.models.{name} (objective {objective})"
    return None


def check_task(config: Config) -> None:
    """Refuse settings that belong to the other task.

    Raises:
        ValueError: naming the key, what was found and what fits.
    """
    fitting = OF_TASK[config.task]
    for name, model in config.base_models.models.items():
        objective = getattr(model, "objective", None)
        if model.enabled and objective is not None and objective not in fitting:
            raise ValueError(
                f"base_models.models.{name}.objective: found {objective!r} with task {config.task}; expected one of "
                f"{', '.join(fitting)}"
            )
    for name, model in config.student.enabled.items():
        if (objective := getattr(model, "objective", None)) in NOT_FOR_STUDENTS:
            raise ValueError(
                f"student.models.{name}.objective: found {objective!r}, but a student learns its teacher's predictions "
                "by squared error; leave it out"
            )
    kind = config.target.kind if config.target is not None else None
    wanted = {"classification": "binary", "regression": "sum"}[config.task]
    where = "label" if config.label is None else f"labels.{config.label}"
    if kind is not None and kind != wanted:
        raise ValueError(f"features.{where}.kind: found {kind!r} with task {config.task}; expected {wanted!r}")
