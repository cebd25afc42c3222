"""A bundle that has to beat the present champion in MLflow's registry to take its place."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from remedi_spark.config import Config
from remedi_spark.delivery import mlflow_registry as registry
from remedi_spark.delivery import promotion
from remedi_spark.errors import InputError
from remedi_spark.opening import reopen
from remedi_spark.samples.flat import FlatTable
from remedi_spark.scoring import open_model
from remedi_spark.scoring.bundle import load_parts
from remedi_spark.storage.workspace import FINAL, Workspace

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def promote(bundle: Path, config: Config, source: FlatTable | None = None) -> tuple[bool, str]:
    """Make a bundle the champion if it beats the present one; return whether it did, and why.

    They are compared on ``source``, a labelled table that neither has learned from; without, on the test rows of the
    candidate's training that are later than what the champion has learned from.
    """
    mlflow = open_model.require_mlflow()
    registry.require_full_name(config.mlflow.model, str(mlflow.get_registry_uri()))
    workspace, trained_with, _ = reopen(bundle)
    if trained_with.task != "classification":
        raise InputError(f"--model {bundle}: found task {trained_with.task}; promote compares classifications by AP")
    candidate, name = load_parts(bundle), config.mlflow.model
    version = registry.registered_version(name, candidate.model_version)
    if version is None:
        logged_as = trained_with.model_copy(update={"mlflow": config.mlflow})
        version = registry.log_run(bundle, logged_as, workspace.models(FINAL).load("metrics"))
    present = registry.champion_version(name)
    if present == version:
        return False, f"version {version} of {name} is the champion already"
    if present is None:
        registry.crown(name, version)
        return True, f"version {version} of {name} is the first champion"
    champion = open_model.load_model(f"{open_model.SCHEME}{name}/{present}")
    settings = trained_with.model_copy(update={"mlflow": config.mlflow})
    found = (
        promotion.on_test_rows(workspace, champion, settings)
        if source is None
        else promotion.on_table(workspace.tables.spark, source, candidate, champion, settings, _learned(workspace))
    )
    better = found.beats(config.mlflow.margin)
    if better:
        registry.crown(name, version)
    verdict = f"version {version} replaces" if better else f"version {version} does not replace"
    return better, f"{found}; {verdict} version {present} of {name} (margin {config.mlflow.margin:g})"


def _learned(workspace: Workspace) -> DataFrame | None:
    """Return the rows that a bundle's models were trained on, where they are still there."""
    if not workspace.tables.exists("samples"):
        return None
    return workspace.tables.read("samples").where("source = 'train' AND label IS NOT NULL")
