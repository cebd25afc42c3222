"""Stages 3 and 4: relative features and the fuser (teacher), beside the baselines it has to beat.

Reads ``oof_predictions``; writes ``fused_scores``: for every row the teacher's margin ``fuser`` (a training row's from
fusers that never saw its fold), the baselines ``mean`` (of the base margins), ``rank_mean`` (of the base models' global
percentiles), ``stack_lr`` (stack: logistic, or least squares) and ``selection`` (greedy), and the mean weight that the
gate gave each expert; for test rows the base models' scores as well.
Relative features are computed where a row is read (:mod:`remedi_spark.ensemble.relative`) and stored nowhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from remedi_spark.columns import LABEL, PART
from remedi_spark.config import Config
from remedi_spark.ensemble.base_scores import GRIDS, base_scores, peer_columns, relative_of
from remedi_spark.ensemble.fuser import fit_fuser, fuse, fuser_inputs
from remedi_spark.ensemble.peers import quantile_grids
from remedi_spark.labels.kind import task_of
from remedi_spark.progress import log
from remedi_spark.samples.holdout import TRAIN
from remedi_spark.spark.kept import kept
from remedi_spark.spark.side_by_side import side_by_side
from remedi_spark.spark.watchdog import time_limit
from remedi_spark.storage.workspace import FINAL, Workspace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyspark.sql import DataFrame


def run(workspace: Workspace, config: Config) -> None:
    """Train the fuser of every phase and score all rows with it."""
    facts = workspace.models(FINAL).load("phases")["phases"]
    peer_columns(workspace, config)  # a mistyped name stops here

    def train(phase: str) -> None:
        # Three queries over few numbers a row: kept, the table's log is read and its peers are ranked once.
        with kept(base_scores(workspace, config, phase)) as scores:
            _train(workspace, config, phase, facts[phase], scores)

    side_by_side(train, list(facts))  # most fits are one task


def _train(workspace: Workspace, config: Config, phase: str, about: Mapping[str, Any], scores: DataFrame) -> None:
    store, labelled = workspace.models(phase), scores.where(F.col(PART) == TRAIN)
    store.save(GRIDS, quantile_grids(labelled, about["models"], config.meta_features.grid, about["rows_used"]))
    relative = relative_of(workspace, config, phase)
    inputs = fuser_inputs(relative.names, relative=config.fuser.relative_features)
    task = task_of(config, store)
    with time_limit(workspace.tables.spark, config.spark.unit_seconds, "fuser"):
        fitted = fit_fuser(
            labelled.withColumn(LABEL, task.target()), relative, inputs, config.fuser, loss=task.loss,
            folds=config.base_models.folds, seed=config.seed, rows=about["rows_used"],
            positives=about["positives_used"],
        )  # fmt: skip
    store.save_fitted(fitted, "fuser", "fuser")
    workspace.write(phase, "fused_scores", fuse(scores, relative, fitted))
    log("fuser", f"{phase}: {len(inputs)} inputs, best check by head {fitted.info['best_step']}")
