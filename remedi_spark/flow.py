"""Read this first: the whole chain, in the order in which data flows.

====================  =============================================  ==============================================
stage                 reads                                          writes
====================  =============================================  ==============================================
features              the sources of the configuration               owner_features
samples               owner_features, or any flat table              samples, contract.json, dictionary.json
base_models           samples                                        encoded, oof_predictions, base_models/
fuser                 oof_predictions (+ samples, for peers)         fused_scores, fuser/
student               encoded, fused_scores                          student_scores, student/, calibration.json
scores                owner_features of one snapshot, student/       scores, monitoring
report                all of the above                               metrics.json, report.html
====================  =============================================  ==============================================

Base models, fuser and student are built twice where the metrics need it: in the ``holdout`` phase without the test
rows, to be judged; in the ``final`` phase from every labelled row, to be shipped.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from remedi_spark.config import Config
from remedi_spark.config.features import Location
from remedi_spark.delivery import mlflow_registry as registry
from remedi_spark.delivery import promotion
from remedi_spark.doctor import preflight
from remedi_spark.ensemble import ablations, base_models, student
from remedi_spark.ensemble import fuser_stage as fuser
from remedi_spark.ensemble.student_parts import student_parts
from remedi_spark.errors import InputError
from remedi_spark.features import stage as features
from remedi_spark.features.changes import fingerprint
from remedi_spark.opening import holding, open_workspace, publish, reopen
from remedi_spark.progress import say, side_work, timed
from remedi_spark.report import stage as report
from remedi_spark.samples import stage as samples
from remedi_spark.samples.flat import FlatTable
from remedi_spark.scoring import open_model
from remedi_spark.scoring import scores_schema as data_contract
from remedi_spark.scoring import stage as scores
from remedi_spark.scoring.bundle import load_parts
from remedi_spark.scoring.monitoring.history import MONITORING
from remedi_spark.scoring.open_model import load_model
from remedi_spark.spark.partitions import slots
from remedi_spark.storage.ledger import LEDGER, Unit
from remedi_spark.storage.manifest import MANIFEST, write_manifest
from remedi_spark.storage.places import require_local, require_shared
from remedi_spark.storage.refused import leaving_nothing
from remedi_spark.storage.tables import Tables
from remedi_spark.storage.upstream import SECTIONS, making, require_upstream
from remedi_spark.storage.workspace import FINAL, Workspace

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

DURATIONS = "durations"
SAMPLES_FILES = ("contract.json", "dictionary.json", "warnings.json")


def run(config: Config, *, force: bool = False) -> dict[str, Any]:
    """Run the whole chain from events to scores and report; return ``metrics.json``.

    What the ledger knows as done is skipped, unless ``force``.
    """
    workspace = open_workspace(config, force=force)
    with holding(workspace, config):
        explain_first_run(workspace, config)
        run_features(workspace, config)
        run_base_models(workspace, config)
        run_fuser(workspace, config)
        _run_student(workspace, config)
        _run_scores(workspace, config, config.scores.model or workspace.bundle)
        metrics = _report_once(workspace, config, label_name(config))
        publish(workspace, config)
    return metrics


def run_stage(name: str, config: Config, *, force: bool = False) -> None:
    """Run one stage by its verb.

    Scoring leaves the rest alone and may go on beside a training: it needs no lease.

    Raises:
        InputError: another run works in the same place, or an earlier stage was made with other settings.
    """
    workspace = open_workspace(config, force=force)
    if name == "scores":
        return run_scores(workspace, config)
    with holding(workspace, config):
        if name in SECTIONS:
            require_upstream(workspace, config, name)
        STAGES[name](workspace, config)
    return None


def explain_first_run(workspace: Workspace, config: Config) -> None:
    """Say, where nothing has run yet, what is about to happen and where its results will be."""
    if workspace.tables.exists(LEDGER):
        return
    say("first run", f"who comes first? {label_name(config)}")
    for stage in STAGES.values():
        say("first run", (stage.__doc__ or "").split("\n")[0].removesuffix("."))
    where = f"tables below {config.root}, model and report.html below {workspace.home}"
    say("first run", f"{where}; killed at any moment, the same command goes on")


def run_features(workspace: Workspace, config: Config) -> None:
    """Stage 1: point-in-time owner features and labels."""
    if config.features is None:
        raise InputError("configuration: no section 'features'; expected sources, groups and a label to build from")
    with _timed(workspace, "features"):
        unit = Unit("features", config.features.model_dump(mode="json"), (), ("owner_features",))
        # What is done is known by the stage itself, which can also do a part; the ledger only tells of it.
        done = features.run(workspace.tables, config.features, force=workspace.force)
        if done["mode"] != "unchanged":
            workspace.ledger.record(unit, workspace.ledger.key(unit), done["seconds"])


def run_base_models(workspace: Workspace, config: Config) -> None:
    """Stage 2: owner features to samples, then K folds x M base models."""
    with _timed(workspace, "base-models"):
        reads = ("owner_features", "feature_dictionary")
        unit = Unit("samples", _about_samples(config), reads, ("samples",), SAMPLES_FILES)
        _unseal(workspace)
        workspace.ledger.once(unit, lambda: samples.from_owner_features(workspace, config))
        with making(workspace, config, "base-models"):
            base_models.run(workspace, with_embargo(config))


def _about_samples(config: Config) -> list[Any]:
    """Return the settings that samples depend on."""
    start = config.evaluation.train_from
    return [config.task, *([str(start)] if start else [])]


def run_fuser(workspace: Workspace, config: Config) -> None:
    """Stages 3 and 4: relative features and the fuser that reads them."""
    with _timed(workspace, "fuser"), making(workspace, config, "fuser"):
        _fuser_once(workspace, config)


def run_student(workspace: Workspace, config: Config) -> None:
    """Stage 5: the student; seals and publishes the bundle."""
    _run_student(workspace, config)
    publish(workspace, config)


def _run_student(workspace: Workspace, config: Config) -> None:
    with _timed(workspace, "student"), making(workspace, config, "student"):
        _student_once(workspace, config)


def run_scores(workspace: Workspace, config: Config) -> None:
    """Stage 6: the latest snapshot's scores, by the published model."""
    _run_scores(workspace, config, config.scores.model or workspace.home)


def _run_scores(workspace: Workspace, config: Config, model: str | Path) -> None:
    with _timed(workspace, "scores"):
        parts = load_model(model)
        settings = [_settings(config, "scores", "monitoring"), parts.model_version, data_contract.VERSION]
        unit = Unit("scores", settings, ("owner_features",), ("scores",))
        workspace.ledger.once(unit, lambda: scores.run(workspace, config, parts))


def run_backfill(workspace: Workspace, config: Config, wanted: str) -> None:
    """Score the snapshots of a day, or from one day to another, whatever the ledger says."""
    parts = load_model(config.scores.model or workspace.home)
    scores.run(workspace, config, parts, scores.snapshots_within(workspace, wanted))


def run_report(
    workspace: Workspace, config: Config, label: str | None = None, *, ablate: bool = False
) -> dict[str, Any]:
    """Stage 7: metrics.json and report.html, published with the model that they are about.

    Returns the former; with ``ablate``, what each part of the method adds is measured as well.
    """
    if ablate and config.task == "regression":
        raise InputError(
            "--ablations: found task regression, expected classification, whose average precision it compares"
        )
    require_upstream(workspace, config, "report")
    with holding(workspace, config):
        metrics = _run_report(workspace, config, label, ablate=ablate)
        publish(workspace, config)
    return metrics


def _run_report(
    workspace: Workspace, config: Config, label: str | None = None, *, ablate: bool = False
) -> dict[str, Any]:
    durations = _durations(workspace)
    fitted: list[str] = []
    if ablate:
        with timed("ablations", durations):
            fitted = ablations.run(workspace, config)
    with timed("report", durations):
        name = label or label_name(config)
        metrics = report.run(workspace, config, label=name, durations=durations, ablations=fitted)
    workspace.models(FINAL).save(DURATIONS, durations)
    if config.mlflow.enabled:
        registry.log_if_possible(workspace.bundle, config, metrics)
    return metrics


STAGES: dict[str, Callable[[Workspace, Config], Any]] = {
    "features": run_features,
    "base-models": run_base_models,
    "fuser": run_fuser,
    "student": run_student,
    "scores": run_scores,
    "report": run_report,
}
"""The verbs of the chain, in order."""


def train(
    spark: SparkSession, source: FlatTable, bundle: Path, config: Config, *, force: bool = False
) -> dict[str, Any]:
    """Train on a ready feature table; return ``metrics.json``."""
    home = require_local(bundle, "--model")
    preflight(spark, config, str(home))
    workspace = Workspace.of(Tables(spark, str(home / "tables"), catalog=False), home, force)
    with holding(workspace, config), leaving_nothing(home):
        require_shared(spark, home, slots(spark), "--model")
        metrics = _train(workspace, source, config)
        publish(workspace, config)
    return metrics


def _train(workspace: Workspace, source: FlatTable, config: Config) -> dict[str, Any]:
    spark = workspace.tables.spark
    with _timed(workspace, "samples"):
        about = [
            *_about_samples(config),
            asdict(source),
            [_fingerprint(spark, table) for table in (source.table, source.test) if table],
        ]
        unit = Unit("samples", about, (), ("samples",), SAMPLES_FILES)
        _unseal(workspace)
        workspace.ledger.once(unit, lambda: samples.run(workspace, source, config))
    with _timed(workspace, "base-models"), making(workspace, config, "base-models"):
        base_models.run(workspace, config)
    run_fuser(workspace, config)
    _run_student(workspace, config)
    return _report_once(workspace, config, source.label)


def promote(bundle: Path, config: Config, source: FlatTable | None = None) -> tuple[bool, str]:
    """Make a bundle the champion if it beats the present one; return whether it did, and why.

    They are compared on ``source``, a labelled table that neither has learned from; without, on the test rows of the
    candidate's training that are later than what the champion has learned from.
    """
    open_model.require_mlflow()
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


def _fuser_once(workspace: Workspace, config: Config) -> None:
    unit = workspace.unit(
        "fuser", [_settings(config, "meta_features", "fuser", "seed", "task"), config.base_models.folds],
        reads=["oof_predictions"], writes=["fused_scores"], files=["quantile_grids.json", "fuser/*"],
    )  # fmt: skip
    workspace.ledger.once(unit, lambda: fuser.run(workspace, config))


def _student_once(workspace: Workspace, config: Config) -> None:
    unit = workspace.unit(
        "student", _settings(config, "student", "seed", "base_models", "task"),
        reads=["encoded", "fused_scores"], writes=["student_scores"],
        files=["student/*/*", "calibration.json", "score_distribution.json"],
    )  # fmt: skip
    workspace.ledger.once(unit, lambda: student.run(workspace, config))
    seal(workspace, config)


def _report_once(workspace: Workspace, config: Config, label: str) -> dict[str, Any]:
    tracked = ["mlflow"] if config.mlflow.enabled else []
    unit = workspace.unit(
        "report",
        [label, _settings(config, "evaluation", "scores", "student", "base_models", "task", "regression", *tracked)],
        reads=["oof_predictions", "fused_scores", "student_scores"],
    )  # fmt: skip
    unit = replace(unit, reads=(*unit.reads, MONITORING), files=("metrics.json", "report.html", "report.json"))
    workspace.ledger.once(unit, lambda: _run_report(workspace, config, label))
    workspace.ledger.flush()
    metrics: dict[str, Any] = workspace.models(FINAL).load("metrics")
    return metrics


def _fingerprint(spark: SparkSession, table: str) -> Any:
    """Return what tells the table's content from any other; for rows of memory, something new every time."""
    found = fingerprint(spark, Location(path=table), "--table")
    return found if found.get("files") or "delta" in found else uuid.uuid4().hex


def _settings(config: Config, *sections: str) -> Any:
    return config.model_dump(mode="json", include=set(sections))


def with_embargo(config: Config) -> Config:
    """Keep training labels out of the test period: gap + horizon days lie between them."""
    if config.features is None:
        return config
    days = config.features.label.gap_days + config.features.label.horizon_days
    evaluation = config.evaluation.model_copy(update={"embargo_days": days})
    return config.model_copy(update={"evaluation": evaluation})


def label_name(config: Config) -> str:
    """Say what is predicted, in words."""
    if config.features is None:
        return "label"
    label = config.features.label
    what = label.category or label.filter or label.source
    if label.kind == "sum":
        return f"{label.of} of {what} within {label.horizon_days} days"
    return f"buys {what} within {label.horizon_days} days"


def seal(workspace: Workspace, config: Config) -> str:
    """Write the manifest of the working folder; return the model version."""
    folds = config.base_models.folds
    return write_manifest(workspace.bundle, students=student_parts(workspace, config), folds=folds)


def _unseal(workspace: Workspace) -> None:
    """Let nobody take what is in the making for a bundle."""
    if workspace.published is not None:
        (workspace.bundle / MANIFEST).unlink(missing_ok=True)


@contextmanager
def _timed(workspace: Workspace, stage: str) -> Iterator[None]:
    """Time a stage and keep its seconds beside the model: the stages may run in processes of their own."""
    durations = _durations(workspace)
    before, done = dict(durations), workspace.ledger.recorded
    try:
        with timed(stage, durations):
            yield
    except BaseException:
        with side_work(stage, "noting what is done", "it is done again the next time"):  # never instead of the error
            workspace.ledger.flush()
        raise
    workspace.ledger.flush()
    if workspace.ledger.recorded == done:  # skipped: keep how long it took
        durations = durations | before
    workspace.models(FINAL).save(DURATIONS, durations)


def _durations(workspace: Workspace) -> dict[str, float]:
    stored = workspace.bundle / f"{DURATIONS}.json"
    return dict(workspace.models(FINAL).load(DURATIONS)) if stored.exists() else {}
