"""What a student is made of: models that learn from the teacher, and base models as they are."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from remedi_spark.storage.manifest import write_manifest
from remedi_spark.storage.workspace import FINAL

if TYPE_CHECKING:
    from remedi_spark.config import Config
    from remedi_spark.storage.fitted import Fitted
    from remedi_spark.storage.workspace import Workspace


def student_parts(workspace: Workspace, config: Config) -> list[str]:
    """Return the names of all parts of the shipped student."""
    return [*config.student.enabled, *_names(workspace, config, FINAL)]


def seal(workspace: Workspace, config: Config) -> None:
    """Write the manifest of the working folder: from now on it is a bundle."""
    write_manifest(workspace.bundle, students=student_parts(workspace, config), folds=config.base_models.folds)


def student_members(workspace: Workspace, config: Config, phase: str) -> dict[str, list[Fitted]]:
    """Return the base models of a phase that are parts of the student, one a fold, with margins at the true prior."""
    store, folds = workspace.models(phase), range(config.base_models.folds)
    shift = math.log(config.base_models.negatives)

    def load(name: str, fold: int) -> Fitted:
        fitted = store.load_fitted("base_models", name, f"fold_{fold}")
        return replace(fitted, info=fitted.info | {"shift": shift}) if shift else fitted

    return {name: [load(name, fold) for fold in folds] for name in _names(workspace, config, phase)}


def _names(workspace: Workspace, config: Config, phase: str) -> list[str]:
    fitted = workspace.models(FINAL).load("phases")["phases"][phase]["models"]
    return [name for name in config.student.members if name in fitted]
