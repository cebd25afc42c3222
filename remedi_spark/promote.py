"""A bundle that has to beat the present champion in MLflow's registry to take its place."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from remedi_spark.columns import SNAPSHOT
from remedi_spark.config import Config
from remedi_spark.delivery import mlflow_registry as registry
from remedi_spark.delivery import promotion
from remedi_spark.errors import InputError
from remedi_spark.opening import reopen
from remedi_spark.samples.flat import FlatTable
from remedi_spark.samples.schema import FeatureContract
from remedi_spark.scoring import open_model
from remedi_spark.scoring.bundle import BundleParts, load_parts
from remedi_spark.storage.own_names import own_names
from remedi_spark.storage.tables import read_table
from remedi_spark.storage.workspace import FINAL, Workspace

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def promote(
    bundle: str | Path, config: Config, source: FlatTable | None = None, *, estimated: bool = False
) -> tuple[bool, str]:
    """Make a bundle the champion if it beats the present one; return whether it did, and why.

    They are compared on ``source``, a labelled table that neither has learned from; without, on the test rows of the
    candidate's training that are later than what the champion has learned from. With ``estimated``, no label is read:
    they are compared by what their lists of the latest rows are expected to hold.
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
        version = registry.log_run(workspace.home, logged_as, workspace.models(FINAL).load("metrics"))
    present = registry.champion_version(name)
    if present == version:
        return False, f"version {version} of {name} is the champion already"
    if present is None:
        registry.crown(name, version)
        return True, f"version {version} of {name} is the first champion"
    champion = open_model.load_model(f"{open_model.SCHEME}{name}/{present}")
    settings = trained_with.model_copy(update={"mlflow": config.mlflow})
    found = (
        promotion.by_estimates(*_rows(workspace, source, candidate, champion), candidate, champion, settings)
        if estimated
        else promotion.on_test_rows(workspace, champion, settings)
        if source is None
        else promotion.on_table(workspace.tables.spark, source, candidate, champion, settings, _learned(workspace))
    )
    better = found.beats(config.mlflow.margin)
    if better:
        registry.crown(name, version)
    verdict = f"version {version} replaces" if better else f"version {version} does not replace"
    return better, f"{found}; {verdict} version {present} of {name} (margin {config.mlflow.margin:g})"


def _rows(
    workspace: Workspace, source: FlatTable | None, candidate: BundleParts, champion: BundleParts
) -> tuple[DataFrame, str]:
    """Return the rows whose lists are estimated, and their name: a table, or the latest snapshot of stage 1."""
    if source is not None:
        names = {
            name
            for model in (candidate, champion)
            for name in FeatureContract.from_dict(model.encoder["contract"]).names
        }
        return read_table(
            workspace.tables.spark, source.table, as_text={source.id, *names}, roles=[source.id]
        ), source.table
    if not workspace.tables.exists("owner_features"):
        raise InputError(
            "--estimated: the bundle was trained on a ready table; name the rows to compare on with --table"
        )
    frame = own_names(workspace.tables.read("owner_features"))
    last = frame.agg(F.max(SNAPSHOT)).collect()[0][0]
    return frame.where(F.col(SNAPSHOT) == F.lit(last)), workspace.tables.location("owner_features")


def _learned(workspace: Workspace) -> DataFrame | None:
    """Return the rows that a bundle's models were trained on, where they are still there."""
    if not workspace.tables.exists("samples"):
        return None
    return workspace.tables.read("samples").where("source = 'train' AND label IS NOT NULL")
