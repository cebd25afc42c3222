"""The ways through the chain: from events, from any table, one verb at a time, past snapshots, the report again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from remedi_spark.config import Config
from remedi_spark.doctor import preflight
from remedi_spark.ensemble import ablations
from remedi_spark.errors import InputError
from remedi_spark.features.verify import Verdict, stored_verdicts
from remedi_spark.flow import (
    ABLATIONS,
    BASE_MODELS,
    FEATURES,
    FROM_TABLE,
    FUSER,
    REPORT,
    SAMPLES,
    SCORES,
    SEAL,
    STAGES,
    STUDENT,
    VERIFY,
    verbs,
)
from remedi_spark.nights import judge, night
from remedi_spark.opening import holding, open_workspace, publish
from remedi_spark.progress import timed
from remedi_spark.running import explain, run_stages, verb_settings
from remedi_spark.samples.contents import contents
from remedi_spark.samples.flat import FlatTable
from remedi_spark.scoring import scores_schema
from remedi_spark.scoring import stage as scores
from remedi_spark.scoring.open_model import load_model
from remedi_spark.spark.partitions import slots
from remedi_spark.stage import Stage
from remedi_spark.storage.home import Home, home_at
from remedi_spark.storage.places import require_reached, require_shared
from remedi_spark.storage.refused import leaving_nothing_at
from remedi_spark.storage.tables import Tables
from remedi_spark.storage.upstream import require_upstream
from remedi_spark.storage.workspace import FINAL, Workspace

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_LEARNING = (BASE_MODELS, FUSER, STUDENT, SEAL)


def run(config: Config, *, force: bool = False) -> dict[str, Any]:
    """Run the whole chain from events to scores and report; return ``metrics.json``.

    What the ledger knows as done is skipped, unless ``force``.
    """
    workspace, config = open_workspace(config, force=force), config.with_embargo()
    with holding(workspace, config), night(workspace.tables, config, "run"):
        explain(STAGES, workspace, config.label_name(), config.root)
        verified = (VERIFY,) if config.monitoring.verify_sample else ()
        _do((FEATURES, *verified, SAMPLES, *_LEARNING), workspace, config)
        _scored(config.scores.model or workspace.bundle, workspace, config)
        return _measured(workspace, config, config.label_name())


def train(
    spark: SparkSession, source: FlatTable, bundle: str | Path | Home, config: Config, *, force: bool = False
) -> dict[str, Any]:
    """Train on a ready feature table; return ``metrics.json``."""
    home = bundle if isinstance(bundle, Home) else home_at(bundle, "--model")
    preflight(spark, config, home.address)
    if home.files is not None:
        require_reached(spark, home.files, slots(spark), "--model")
    workspace = Workspace.of(Tables(spark, home.at("tables"), catalog=False), home, force)
    with holding(workspace, config), leaving_nothing_at(home):
        if home.files is None:
            require_shared(spark, home.folder, slots(spark), "--model")
        workspace.tables.offer_scratch()
        about = [asdict(source), contents(spark, source)]
        entrance = FROM_TABLE.given(about, source=source)
        _do((entrance, *_LEARNING), workspace, config)
        return _measured(workspace, config, source.label)


def run_verb(verb: str, config: Config, *, force: bool = False) -> None:
    """Run the stages of one verb.

    Scoring leaves the rest alone and may go on beside a training: it needs no lease.

    Raises:
        InputError: another run works in the same place, or an earlier stage was made with other settings.
    """
    workspace, config = open_workspace(config, force=force), config.with_embargo()
    if verb == SCORES.verb:
        with night(workspace.tables, config, verb):
            _scored(config.scores.model or workspace.home, workspace, config)
        return
    with holding(workspace, config), night(workspace.tables, config, verb):
        if verb in (order := verb_settings(STAGES)):
            require_upstream(workspace, config, verb, order)
        _do(verbs()[verb], workspace, config)
        if any(stage.publishes for stage in verbs()[verb]):
            publish(workspace, config)


def verify(config: Config, sample: int) -> list[Verdict]:
    """Compare the features of sampled owners with those computed by hand from the sources as they are now."""
    workspace = open_workspace(config)
    _do((VERIFY.given([sample], sample=sample, stop=False),), workspace, config)
    return stored_verdicts(workspace.tables)


def backfill(config: Config, wanted: str) -> None:
    """Score the snapshots of a day, or from one day to another, whatever the ledger says.

    It is noted like any night. Nothing is decided on: the last list is another.
    """
    workspace = open_workspace(config)
    snapshots = scores.snapshots_within(workspace, wanted)
    with night(workspace.tables, config, "backfill"), timed(SCORES.name, {}):
        parts = load_model(config.scores.model or workspace.home)
        scores.run(workspace, config, parts=parts, snapshots=snapshots)


def report(workspace: Workspace, config: Config, label: str, *, ablate: bool = False) -> dict[str, Any]:
    """Measure again and publish the report with the model that it is about; return ``metrics.json``.

    With ``ablate``, what each part of the method adds is measured as well.
    """
    if ablate and config.task == "regression":
        raise InputError(
            "--ablations: found task regression, expected classification, whose average precision it compares"
        )
    require_upstream(workspace, config, REPORT.verb, verb_settings(STAGES))
    with holding(workspace, config):
        if ablate:
            _do((ABLATIONS,), workspace, config)
        measured = ablations.names(config) if ablate else ()
        return _measured(workspace.forced(), config, label, measured)


def _do(stages: Sequence[Stage], workspace: Workspace, config: Config) -> None:
    run_stages(stages, STAGES, workspace, config)


def _scored(model: str | Path, workspace: Workspace, config: Config) -> None:
    parts = load_model(model)
    _do((SCORES.given([parts.model_version, scores_schema.VERSION], parts=parts),), workspace, config)
    judge(workspace.tables, parts.model_version, config)


def _measured(workspace: Workspace, config: Config, label: str, measured: Sequence[str] = ()) -> dict[str, Any]:
    _do((REPORT.given([label], label=label, measured=measured),), workspace, config)
    publish(workspace, config)
    metrics: dict[str, Any] = workspace.models(FINAL).load("metrics")
    return metrics
