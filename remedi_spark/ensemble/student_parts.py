"""What a student is made of: models that learned from the teacher, or base models as they are."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from remedi_spark.models.row_caps import Shares
from remedi_spark.storage.manifest import write_manifest
from remedi_spark.storage.workspace import FINAL

if TYPE_CHECKING:
    from remedi_spark.config import Config
    from remedi_spark.storage.fitted import Fitted
    from remedi_spark.storage.workspace import Workspace

Kind = Literal["distilled", "ensemble"]
PARTS = "student_parts"
"""File, one a phase: the :class:`Parts`."""
_LEAST_WEIGHT = 0.02
"""A selected base model of less weight is left out of an ensemble: it costs as much as one of more."""


@dataclass(frozen=True)
class Parts:
    """What a phase's student consists of."""

    kind: Kind
    names: list[str]
    """Of its models; the mean of their margins is the student's."""
    weights: dict[str, float] = field(default_factory=dict)
    """Of an ensemble's base models, adding up to 1."""
    models_each: int = 1
    """Fitted models of each: one, or one a fold."""
    kept: float | None = None
    """Share of the teacher's AP that the distilled student was found to keep; None: not looked at."""

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able form."""
        return asdict(self)


def parts_of(workspace: Workspace, phase: str) -> Parts:
    """Return what the student of a phase consists of."""
    return Parts(**workspace.models(phase).load(PARTS))


def seal(workspace: Workspace, config: Config) -> None:
    """Write the manifest of the working folder: from now on it is a bundle."""
    parts = parts_of(workspace, FINAL)
    write_manifest(workspace.bundle, students=parts.names, folds=parts.models_each)


def selected(workspace: Workspace, phase: str) -> dict[str, float]:
    """Return the base models that the greedy selection over all folds gave weight, and their weights."""
    found: dict[str, float] = workspace.models(phase).load_fitted("fuser", "fuser").info["selection"]
    held = {name: weight for name, weight in found.items() if weight >= _LEAST_WEIGHT}
    total = sum(held.values())
    return {name: weight / total for name, weight in held.items()}


def ensemble_members(workspace: Workspace, config: Config, phase: str) -> dict[str, list[Fitted]]:
    """Return the selected base models, one a fold, so that the mean of their margins is the selection's margin."""
    store, weights = workspace.models(phase), selected(workspace, phase)
    lines = store.load("alignment") if store.has("alignment") else {}
    models = {}
    for name, weight in weights.items():
        slope, intercept = lines[name][-1] if name in lines else (1.0, 0.0)  # that of rows of no fold
        factor = weight * len(weights)
        fitted = _at_true_prior(workspace, config, phase, name)
        models[name] = [one.on_line(factor * slope, factor * intercept) for one in fitted]
    return models


def _at_true_prior(workspace: Workspace, config: Config, phase: str, name: str) -> list[Fitted]:
    store = workspace.models(phase)
    binary = config.task == "classification"
    shift = Shares(**store.load("training")["shares"]).shift if binary else 0.0
    stored = [store.load_fitted("base_models", name, f"fold_{fold}") for fold in range(config.base_models.folds)]
    return [one.on_line(1.0, shift) for one in stored] if shift else stored
