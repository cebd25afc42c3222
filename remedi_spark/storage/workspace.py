"""Where a run keeps its tables and its models."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from remedi_spark.storage.home import Home
from remedi_spark.storage.ledger import Ledger, Unit
from remedi_spark.storage.manifest import MANIFEST
from remedi_spark.storage.publish import WORK, Access, publish
from remedi_spark.storage.scope import Scope
from remedi_spark.storage.store import ModelStore
from remedi_spark.storage.tables import Tables

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

HOLDOUT, FINAL = "holdout", "final"
WARNINGS = "warnings"
"""File: what the user should look at, in sentences."""


@dataclass(frozen=True)
class Workspace:
    """Tables under a root, models in a folder that a training works in, published from there.

    The final phase's tables go by their plain names, those of the ``holdout`` phase by ``evaluation_<name>``. The
    working folder holds the ``final`` phase (learned from every labelled row); the models of the ``holdout`` phase,
    which exist to be measured, are kept in ``evaluation/`` below it. The prefix is on disk, and stays for that.
    """

    tables: Tables
    bundle: Path
    """Where stages write: a bundle in the making."""
    force: bool = False
    """Do everything again, whatever the ledger says."""
    published: Path | None = None
    """The folder that readers know; None: the working folder is all there is."""
    scope: Scope | None = None
    """What the running stage may touch; None: anything."""
    place: Home | None = None
    """Where the published folder is mirrored to, and known by; None: nowhere else."""
    _ledger: list[Ledger] = field(default_factory=list, compare=False, repr=False)

    @classmethod
    def of(cls, tables: Tables, home: Home | Path, force: bool = False) -> Workspace:
        """Return the workspace of the bundle that readers know as ``home``."""
        home = Home(home, str(home)) if isinstance(home, Path) else home
        return cls(tables, home.folder / WORK, force, home.folder, place=home)

    @property
    def home(self) -> Path:
        """The bundle folder as readers know it."""
        return self.published or self.bundle

    def publish(self, access: Access = "owner") -> None:
        """Let readers have what has been made; see :mod:`remedi_spark.storage.publish`."""
        if self.published is not None:
            publish(self.bundle, self.published, access)
        self.send()

    def send(self) -> None:
        """Have what has been written where others find it."""
        if self.place is not None:
            self.place.send()

    def at(self, name: str) -> str:
        """Return where users find a file of the bundle."""
        return str(self.home / name) if self.place is None else self.place.at(name)

    @property
    def ledger(self) -> Ledger:
        """What has been done in this root."""
        if not self._ledger:
            self._ledger.append(Ledger(self.tables, self.bundle, self.force, self.send))
        return self._ledger[0]

    def within(self, scope: Scope) -> Workspace:
        """Return this workspace as a stage sees it that may touch only what it has declared."""
        _ = self.ledger  # which knows tables of all stages, is made before and shared
        phases = [self.name(HOLDOUT, "")]
        both = [
            tuple(before + one for one in names for before in ("", *phases) if not before or "." not in one)
            for names in (scope.reads, scope.writes)
        ]
        tables = replace(self.tables, scope=replace(scope, reads=both[0], writes=both[1]))
        return replace(self, tables=tables, scope=scope)

    def forced(self) -> Workspace:
        """Return this workspace with nothing counting as done."""
        return replace(self, force=True, _ledger=[])

    def unseal(self) -> None:
        """Let nobody take what is in the making for a bundle."""
        if self.published is not None:
            (self.bundle / MANIFEST).unlink(missing_ok=True)
            self.send()

    def read(self, phase: str, name: str) -> DataFrame:
        """Read a table of a phase."""
        return self.tables.read(self.name(phase, name))

    def write(self, phase: str, name: str, frame: DataFrame) -> None:
        """Replace a table of a phase, whole or not at all."""
        self.tables.replace(frame, self.name(phase, name))

    def name(self, phase: str, name: str) -> str:
        """Return the name that a phase's table goes by."""
        return name if phase == FINAL else f"evaluation_{name}"

    def names(self, table: str, *, each_phase: bool) -> list[str]:
        """Return the names of a table: of every phase there is, or its own."""
        return [self.name(phase, table) for phase in self.phases()] if each_phase else [table]

    @staticmethod
    def folder(phase: str) -> str:
        """Return what the files of a phase have before their names."""
        return "" if phase == FINAL else "evaluation/"

    def models(self, phase: str) -> ModelStore:
        """Return the files of a phase."""
        return ModelStore(self.bundle / self.folder(phase), self.scope)

    def unit(
        self, name: str, settings: Any, *,
        reads: Iterable[str] = (), writes: Iterable[str] = (), files: Iterable[str] = (), phase: str | None = None,
    ) -> Unit:  # fmt: skip
        """Return a unit of work over tables and files of one phase, or (None) of every phase there is."""
        phases = self.phases() if phase is None else [phase]
        read, written = (
            tuple(self.name(each, table) for each in phases for table in listed) for listed in (reads, writes)
        )
        folders = [self.folder(each) for each in phases]
        return Unit(name, settings, read, written, tuple(folder + one for folder in folders for one in files))

    def phases(self) -> list[str]:
        """Return the phases that base models were made for."""
        return list(ModelStore(self.bundle).load("phases")["phases"])
