"""Stage 7: how good the list is, measured on test rows; ``metrics.json``, ``report.json``, ``report.html``."""

from __future__ import annotations

import importlib.metadata
import math
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pandas as pd
import yaml
from pyspark.sql import functions as F
from pyspark.sql.pandas.functions import pandas_udf

from remedi_spark.columns import KEY, LABEL, OWNER, PART, SNAPSHOT
from remedi_spark.config import Config
from remedi_spark.config.chain import EXPERTS
from remedi_spark.ensemble.student_parts import parts_of
from remedi_spark.features.state import read_state
from remedi_spark.labels.binned import EXACT_ROWS
from remedi_spark.labels.comparing import compare_models, fidelity
from remedi_spark.labels.kind import Task, task_of
from remedi_spark.labels.measured import Fidelity, Measured, Segment, Size, SnapshotResult, retention
from remedi_spark.labels.measures import measure_segments, measure_snapshots
from remedi_spark.maths.label_scale import score_map_from_dict
from remedi_spark.progress import log, run_id, side_work
from remedi_spark.redaction import without_secrets_shown
from remedi_spark.report.drivers import LEVELS, effects, importance
from remedi_spark.report.explained import WEIGHT, draw_rows
from remedi_spark.report.health import health
from remedi_spark.report.metrics import Ablation, Learned, Metrics
from remedi_spark.report.outline import Outline, outline
from remedi_spark.report.page import model as page
from remedi_spark.samples.encoder import Encoder
from remedi_spark.samples.holdout import TEST, TRAIN
from remedi_spark.samples.schema import FeatureContract
from remedi_spark.scoring.bundle import load_parts
from remedi_spark.scoring.monitoring.counting import count_rows
from remedi_spark.scoring.monitoring.distribution import Distribution
from remedi_spark.scoring.monitoring.history import latest
from remedi_spark.scoring.monitoring.measures import against_training
from remedi_spark.scoring.monitoring.verdict import verdict_of
from remedi_spark.spark.joins import join_rows
from remedi_spark.spark.kept import kept
from remedi_spark.spark.side_by_side import together
from remedi_spark.storage.store import ModelStore, read_bytes, write_bytes, write_json
from remedi_spark.storage.workspace import FINAL, Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pyspark.sql import DataFrame

    from remedi_spark.storage.tables import Tables

EXPLAINED_ROWS = 2_000
"""Rows whose contributions are added up, half of them from the list."""
EFFECTS = 6
SEGMENTS = 4
"""Text features, the strongest ones, by whose levels the student is measured."""
PACKAGES = (
    "remedi_spark",
    "pyspark",
    "delta-spark",
    "synapseml",
    "lightgbm",
    "xgboost",
    "catboost",
    "torch",
    "numpy",
    "pandas",
)
_CHANCE = 0.5
"""AUC of a list drawn by lot."""
_HEAD = ("task", "label", "measured_on", "rows", "total", "positives", "prior", "k", "budget")
_SHOT = ("rows", "mae", "rmse", "gmae")
_KINDS: dict[str, page.Kind] = {
    "mean": "baseline", "rank_mean": "baseline", "stack_lr": "baseline", "stack": "baseline", "selection": "baseline",
    "smeared": "baseline", "fuser": "fuser", "student": "student",
}  # fmt: skip


@dataclass(frozen=True)
class _Student:
    """What there is to know of the student: how it follows its teacher, who decides, and what drives it."""

    fidelity: Fidelity
    experts: page.Experts
    importance: list[page.FeatureImportance]
    explained: page.Explained
    effects: list[page.Effect]
    segments: list[Segment]


@dataclass(frozen=True)
class _Found:
    """All that takes Spark."""

    models: dict[str, Measured]
    ablations: dict[str, Ablation]
    student: _Student
    over_time: list[SnapshotResult]
    data_health: page.DataHealth | None
    verdict: page.Verdict | None


def run(
    workspace: Workspace,
    config: Config,
    *,
    label: str,
    durations: dict[str, float],
    ablations: Sequence[str] = (),
) -> dict[str, Any]:
    """Measure, store and render; return ``metrics.json``.

    Args:
        workspace: where the run's tables and models are.
        config: of the run.
        label: what is predicted, in words.
        durations: seconds of each stage so far.
        ablations: columns of ``ablation_scores`` to measure beside the rest.
    """
    facts = workspace.models(FINAL).load("phases")
    phase = facts["measured_phase"]
    models = facts["phases"][phase]["models"]
    task = task_of(config, workspace.models(phase))
    with kept(_test_rows(workspace, phase, task, ablations)) as rows:
        size = task.size(rows)
        k = max(1, math.ceil(config.scores.budget * size.rows))
        names = [*models, *task.baselines, "fuser", "student", *ablations]
        found = _measure(workspace, config, phase, rows, size, k, names, ablations)
    learned = Learned(**{name: facts["phases"][phase][name] for name in Learned.model_fields})
    measured, student = found.models, found.models["student"]
    metrics = Metrics(
        task=config.task, label=label, **dict(size), k=k, measured_on=facts["measured_on"],
        learned_from=None if learned.all else learned,
        budget=config.scores.budget, seed=config.seed,
        models={name: one.metrics for name, one in measured.items()},
        intervals={name: one.intervals for name, one in measured.items()},
        shots=None if task.binary else {name: one.shots for name, one in measured.items()},
        retention=retention(student, measured["fuser"], task.retained),
        regression=None if task.binary else config.regression, row_weights=task.row_weights,
        ablations=found.ablations or None, fidelity=found.student.fidelity,
        student=page.Shipped(**{**parts_of(workspace, FINAL).to_dict(), "kept": parts_of(workspace, phase).kept}),
        warnings=[*facts.get("warnings", []), *_nothing_learned(student, size)],
        failed=facts.get("failed", []), fits=facts["phases"][phase].get("fits", {}),
    )  # fmt: skip
    report = _report(workspace, config, phase, metrics, found, durations, task)
    write_json(workspace.bundle / "metrics.json", metrics.tree())
    write_bytes(workspace.bundle / "report.json", report.model_dump_json(indent=1).encode())
    render_report(workspace.bundle)
    log("report", workspace.at("report.html"))
    return metrics.tree()


def _nothing_learned(student: Measured, size: Size) -> list[str]:
    """Return the sentence that says so where the list may be no better than chance."""
    auc, (low, high) = student.metrics.get("auc"), student.intervals.get("auc") or (None, None)
    if auc is None or low is None or low > _CHANCE:
        return []
    return [
        f"nothing was learned that holds on test rows: AUC {auc:.3f} ({low:.3f} to {high:.3f}, chance is .5) with"
        f" {size.positives} positives; scores are near the base rate of {size.prior:.3%}, and the list is no"
        " better than one drawn by lot; look at the label and its dates, and at features that were known before it"
    ]  # fmt: skip


def _measure(
    workspace: Workspace, config: Config, phase: str, rows: DataFrame, size: Size, k: int, names: list[str],
    ablations: Sequence[str],
) -> _Found:  # fmt: skip
    """Return all that takes Spark: queries so small that each spends more time on its plan than on rows."""
    task = task_of(config, workspace.models(phase))
    contract = FeatureContract.from_dict(workspace.models(FINAL).load("contract"))
    many = size.rows > EXACT_ROWS
    parts: dict[str, Callable[[], Any]] = {
        "models": lambda: task.measure(rows, {name: F.col(name) for name in names}, k),
        "ablations": lambda: (
            _differences(rows, ablations, k, config.evaluation.bootstrap, many=many) if ablations else {}
        ),
        "student": lambda: _student(workspace, contract, rows, k, size.rows, listed=task.binary),
        "over_time": lambda: _over_time(rows, config.scores.budget, contract, many=many) if task.binary else [],
        "data_health": lambda: _health(workspace, config, contract, phase, rows),
        "verdict": lambda: _verdict(workspace, config) if task.binary else None,
    }
    return _Found(**together(parts))


def _differences(
    rows: DataFrame, ablations: Sequence[str], k: int, resamples: int, *, many: bool
) -> dict[str, Ablation]:
    """AP of the whole method's part less that of its ablation, on the same resampled rows."""
    whole = {name: "student" if name.startswith("student") else "fuser" for name in ablations}
    found = compare_models(rows, [(whole[name], name) for name in ablations], k, max(2, resamples), many=many)
    return {name: Ablation(instead_of=whole[name], ap_lost=found[whole[name], name]) for name in ablations}


def render_report(bundle: Path) -> Path:
    """Rebuild ``report.html`` from what was stored; needs no Spark."""
    from remedi_spark.report.page.render import render  # plotly and its page: for the driver alone

    report = page.Report.model_validate_json(read_bytes(bundle / "report.json"))
    write_bytes(bundle / "report.html", render(report).encode())
    return bundle / "report.html"


def _test_rows(workspace: Workspace, phase: str, task: Task, ablations: Sequence[str]) -> DataFrame:
    """Return the test rows with every model's score, a probability or an amount, and the features."""
    rows = workspace.read(phase, "student_scores").where(F.col(PART) == TEST)
    if ablations:
        rows = join_rows(rows, workspace.read(phase, "ablation_scores"))
    fused = workspace.read(phase, "fused_scores")
    scores = task.baseline_scores(lambda: fused.where((F.col(PART) == TRAIN) & F.col(LABEL).isNotNull()))
    scores |= {name: task.score(F.col(name)) for name in ("fuser", *ablations)}
    calibrate = _calibrated(workspace.models(phase))
    return join_rows(rows.withColumns({**scores, "student": calibrate("student")}), _features(workspace, phase))


def _features(workspace: Workspace, phase: str) -> DataFrame:
    """Return keys and features of the samples that the test rows are among."""
    contract = FeatureContract.from_dict(workspace.models(FINAL).load("contract"))
    # An owner may be in the training table and in a test table of the user's own, with other features.
    source = F.col("source") == TEST if phase == FINAL else F.col("source") != TEST
    return workspace.tables.read("samples").where(source).select(*KEY, *contract.columns)


def _calibrated(store: ModelStore) -> Any:
    stored = store.load("calibration")

    @pandas_udf("double")  # type: ignore[call-overload, untyped-decorator]
    def calibrate(margins: pd.Series) -> pd.Series:
        return pd.Series(score_map_from_dict(stored)(margins.to_numpy()))

    return calibrate


def _report(
    workspace: Workspace, config: Config, phase: str, metrics: Metrics, found: _Found, durations: dict[str, float],
    task: Task,
) -> page.Report:  # fmt: skip
    student = found.models["student"]
    return page.Report(
        head=_head(workspace, metrics), verdict=found.verdict, warnings=metrics.warnings, failed=metrics.failed,
        models=[
            page.ModelResult(
                name=name, kind="ablation" if name in found.ablations else _KINDS.get(name, "base"),
                metrics=one.metrics, intervals=one.intervals,
                rows_used=metrics.fits.get(name, {}).get("rows_used", []),
            )
            for name, one in found.models.items()
        ],
        retention=page.Retention(**metrics.retention), shipped=metrics.student,
        gains=[one.gains for one in found.models.values() if one.gains],
        calibration=student.reliability,
        shots=[
            page.Shot.model_validate({"model": name, "shot": shot, **{key: errors[key] for key in _SHOT}})
            for name in ("fuser", "student")
            for shot, errors in found.models[name].shots.items()
        ],
        label_bins=task.label_bins(student), **vars(found.student),
        over_time=found.over_time, data_health=found.data_health,
        training_curves=_curves(workspace, phase, config.task), provenance=_provenance(workspace, config, durations),
    )  # fmt: skip


def _head(workspace: Workspace, metrics: Metrics) -> page.Head:
    moment, learned = datetime.now(UTC).replace(microsecond=0), metrics.learned_from
    words = f"{learned.rows_used:,} of {learned.rows:,} training rows, chosen by hash" if learned else ""
    return page.Head.model_validate({
        "title": f"Who to contact: {metrics.label}", "run_id": run_id(), "generated_at": moment.isoformat(),
        "model_version": load_parts(workspace.bundle).model_version, "learned_from": words,
        **{name: getattr(metrics, name) for name in _HEAD},
    })  # fmt: skip


def _student(
    workspace: Workspace, contract: FeatureContract, rows: DataFrame, k: int, size: int, *, listed: bool
) -> _Student:
    """Segments are by the list of the best ``k`` where there is one to judge."""
    many = size > EXACT_ROWS
    spread = outline(rows, "student", EXPERTS, k / size)
    first: dict[str, Callable[[], Any]] = {
        "fidelity": lambda: fidelity(rows, "student", "fuser", k, many=many),
        "importance": lambda: _importance(workspace, contract, rows, spread),
    }
    (follows, cut), (shares, explained) = together(first).values()
    names = [one.feature for one in shares]
    second: dict[str, Callable[[], Any]] = {
        "effects": lambda: effects(rows, contract, names[:EFFECTS], "student"),
        "segments": lambda: _segments(rows, contract, names, cut, many=many) if listed else [],
    }
    return _Student(follows, spread.gate_use(), shares, explained, **together(second))


def _importance(
    workspace: Workspace, contract: FeatureContract, rows: DataFrame, spread: Outline
) -> tuple[list[page.FeatureImportance], page.Explained]:
    drawn = draw_rows(rows, "student", spread.listed, EXPLAINED_ROWS)
    explained = join_rows(rows.select(*KEY, *contract.columns), F.broadcast(drawn))
    return importance(explained.select(OWNER, *contract.columns, WEIGHT), load_parts(workspace.bundle))


def _segments(rows: DataFrame, contract: FeatureContract, names: list[str], cut: float, *, many: bool) -> list[Segment]:
    """Measure the student by the levels of the strongest text features."""
    columns = dict(zip(contract.names, contract.columns, strict=True))
    texts = {feature.name for feature in contract.features if feature.kind == "category"}
    chosen = {name: F.col(columns[name]) for name in names if name in texts}
    chosen = dict(list(chosen.items())[:SEGMENTS])
    return measure_segments(rows, F.col("student"), chosen, cut, LEVELS, many=many) if chosen else []


def _over_time(rows: DataFrame, budget: float, contract: FeatureContract, *, many: bool) -> list[SnapshotResult]:
    if contract.time_column is None or rows.select(SNAPSHOT).distinct().count() > 120:
        return []
    return measure_snapshots(rows, F.col("student"), F.col(SNAPSHOT), budget, many=many)


def _health(
    workspace: Workspace, config: Config, contract: FeatureContract, phase: str, rows: DataFrame
) -> page.DataHealth | None:
    """Say how the rows scored last differ from training or, where none were scored, the measured rows."""
    parts, read = load_parts(workspace.bundle), sources_read(workspace.tables)
    found = None
    with side_work("report", "reading the table monitoring", "the report compares the measured rows instead"):
        found = latest(workspace.tables, parts.model_version)
    if found is not None:
        snapshot, measures, past = found
        scored = next(int(one.value or 0) for one in measures if one.metric == "rows")
        compared = f"rows scored of {snapshot}" if snapshot else "rows scored last"
        return health(measures, compared, scored, past, read)
    if parts.distribution is None:
        return None
    distribution = Distribution.from_dict(parts.distribution)
    now = count_rows(rows, Encoder.from_dict(parts.encoder), distribution.edges)
    # What is shipped has learned from the measured rows too, unless they came in a table of their own.
    then = replace(distribution if phase == FINAL else distribution.without(now), score_edges=[], score_counts=[])
    drift = list(against_training(now, then, contract.names, config.monitoring))
    return health(drift, "rows measured on", now.rows, sources=read)


def _verdict(workspace: Workspace, config: Config) -> page.Verdict | None:
    """Return what to do with the model's last list; None where it has scored nothing yet."""
    found = None
    with side_work("report", "deciding on the last list", "the report has no verdict"):
        found = verdict_of(workspace.tables, load_parts(workspace.bundle).model_version, config.monitoring)
    return page.Verdict(decision=found.decision, reason=found.reason) if found else None


def sources_read(tables: Tables) -> list[page.InputHealth]:
    """Return rows and quarantined rows of every table that stage 1 has read; none where features came ready made."""
    state = read_state(tables)
    found = state.findings.items() if state is not None else ()
    return [page.InputHealth(name=name, rows=facts["rows"], quarantined=facts["failed"]) for name, facts in found]


def _curves(workspace: Workspace, phase: str, task: str) -> list[page.TrainingCurve]:
    loss = {"classification": "log-loss", "regression": "weighted squared error"}[task]
    store, curves = workspace.models(phase), []
    for path in sorted((store.root / "base_models").glob("*/fold_*.json")):
        model, fold = path.parent.name, path.stem
        if valid := store.load(f"base_models/{model}/{fold}")["info"].get("curve"):
            curves.append(page.TrainingCurve(
                model=model, fold=int(fold.removeprefix("fold_")), iteration=list(range(1, len(valid) + 1)), train=[],
                valid=valid, loss=f"{loss} on inner validation, by epoch",
            ))  # fmt: skip
    return curves


def _provenance(workspace: Workspace, config: Config, durations: dict[str, float]) -> page.Provenance:
    tables = [name for name in ("owner_features", "samples", "oof_predictions", "fused_scores", "student_scores")
              if workspace.tables.exists(name)]  # fmt: skip
    return page.Provenance(
        configuration=_shown(config),
        versions={"python": sys.version.split()[0], **{name: _version(name) for name in PACKAGES}},
        seeds={"seed": config.seed},
        tables=[page.TableVersion(name=name, version=workspace.tables.stamp(name)) for name in tables],
        durations=[page.StageDuration(stage=stage, seconds=seconds) for stage, seconds in durations.items()],
    )


def _shown(config: Config) -> str:
    """Return the configuration as YAML, without what is secret."""
    tree = without_secrets_shown(config.model_dump(mode="json"))
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "the platform's"
