"""Where a run keeps its tables and its models."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from remedi_spark.bundle.store import ModelStore
from remedi_spark.spark.tables import Tables

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

HOLDOUT, FINAL = "holdout", "final"


@dataclass(frozen=True)
class Workspace:
    """Tables under a root, models in a bundle folder.

    The final phase's tables go by their plain names, those of the ``holdout`` phase by ``evaluation_<name>``. The
    bundle folder holds the ``final`` phase (learned from every labelled row); the models of the ``holdout`` phase,
    which exist to be judged, are kept in ``evaluation/`` below it.
    """

    tables: Tables
    bundle: Path

    def read(self, phase: str, name: str) -> DataFrame:
        """Read a table of a phase."""
        return self.tables.read(self._name(phase, name))

    def write(self, phase: str, name: str, frame: DataFrame) -> None:
        """Replace a table of a phase in one commit."""
        self.tables.overwrite(frame, self._name(phase, name))

    def _name(self, phase: str, name: str) -> str:
        return name if phase == FINAL else f"evaluation_{name}"

    def models(self, phase: str) -> ModelStore:
        """Return the files of a phase."""
        return ModelStore(self.bundle if phase == FINAL else self.bundle / "evaluation")
