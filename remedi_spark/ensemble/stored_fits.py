"""Fits of a stage, kept in the bundle: each is a unit of the ledger, done once whatever ends the run."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from remedi_spark.config.chain import ModelConfig
from remedi_spark.models.cross_fit import FoldFits, cross_fit
from remedi_spark.models.registry import depends_on_workers
from remedi_spark.progress import log, step
from remedi_spark.storage.fitted import Fitted
from remedi_spark.storage.ledger import Unit
from remedi_spark.storage.workspace import Workspace

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


@dataclass(frozen=True)
class StoredFits:
    """The fits of one stage in one phase."""

    workspace: Workspace
    phase: str
    stage: str
    reads: tuple[str, ...]
    """Tables of the phase that the rows come from: other versions of them ask for other fits."""
    whole: bool = False
    """One fit of a model, on all folds, instead of one for each fold left out."""

    @property
    def folder(self) -> str:
        """Where the models are kept below the phase's folder."""
        return self.stage.replace("-", "_")

    def fit(
        self, rows: DataFrame, models: Mapping[str, ModelConfig], plan: FoldFits, *, parallel: int | None = None
    ) -> dict[str, str]:
        """Fit what is not done, longest fits first as the models come; return by name why others failed."""
        store, ledger = self.workspace.models(self.phase), self.workspace.ledger
        todo = self._not_done(models, plan)
        ended = itertools.count(1)

        def keep(name: str, fold: int, fitted: Fitted, seconds: float) -> None:
            store.save_fitted(fitted, self.folder, name, _file(fold, plan))
            ledger.record(*todo[name, fold], seconds)
            fits = "all folds" if self.whole else f"fold {fold + 1}/{plan.folds}"
            told = f"{self.phase}: {name} {fits}: {_size(fitted)}"
            step(self.stage, told, done=next(ended), total=len(todo))

        if not todo:
            return {}
        return cross_fit(rows, models, plan, keep, todo=list(todo), parallel=parallel).failed

    def load(self, names: list[str], folds: int) -> dict[str, list[Fitted]]:
        """Read models back, one a fold; or one."""
        store, files = self.workspace.models(self.phase), range(1 if self.whole else folds)
        return {name: [store.load_fitted(self.folder, name, f"fold_{k}") for k in files] for name in names}

    def _not_done(self, models: Mapping[str, ModelConfig], plan: FoldFits) -> dict[tuple[str, int], tuple[Unit, str]]:
        """Return the fits (model, fold) that the ledger does not know as done, each with its unit and key."""
        workspace, todo = self.workspace, {}
        stamps = [workspace.tables.stamp(workspace.name(self.phase, table)) for table in self.reads]
        for name, model in models.items():
            known = replace(plan, seconds=None, deadline=None, workers=plan.workers if depends_on_workers(model) else 1)
            made_from: list[Any] = [*stamps, model.model_dump(mode="json"), asdict(known)]
            for fold in [plan.folds] if self.whole else range(plan.folds):
                files = [f"{self.folder}/{name}/{_file(fold, plan)}.*"]
                called = f"{self.stage}/{self.phase}/{name}/{fold}"
                unit = workspace.unit(called, made_from, phase=self.phase, files=files)
                key = workspace.ledger.key(unit)
                if not workspace.ledger.is_done(unit, key):
                    todo[name, fold] = unit, key
        fits = len(models) * (1 if self.whole else plan.folds)
        if len(todo) < fits:
            log(self.stage, f"{self.phase}: {fits - len(todo)} of {fits} fits done before, skipped")
        return todo


def _file(fold: int, plan: FoldFits) -> str:
    """Return the name of a fit's files; that of all folds, which is alone, goes by the first."""
    return f"fold_{fold % plan.folds}"


def _size(fitted: Fitted) -> str:
    unit = "trees" if "trees" in fitted.info else "epochs"
    return f"{fitted.info[unit]} {unit}"
