"""Stage 7: how good the list is, measured on test rows; ``metrics.json``, ``report.json``, ``report.html``."""

from __future__ import annotations

import importlib.metadata
import math
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import yaml

from remedi_spark.config import Config
from remedi_spark.ensemble.student_parts import parts_of
from remedi_spark.labels.kind import Task, task_of
from remedi_spark.labels.measured import Measured, Size, retention
from remedi_spark.progress import log, run_id
from remedi_spark.redaction import without_secrets_shown
from remedi_spark.report.metrics import Learned, Metrics
from remedi_spark.report.page import model as page
from remedi_spark.report.queries import Found, measure, measured_rows
from remedi_spark.scoring.bundle import load_parts
from remedi_spark.spark.kept import kept
from remedi_spark.storage.store import read_bytes, write_bytes, write_json
from remedi_spark.storage.workspace import FINAL, Workspace

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


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
    with kept(measured_rows(workspace, phase, task, ablations)) as rows:
        size = task.size(rows)
        k = max(1, math.ceil(config.scores.budget * size.rows))
        names = [*models, *task.baselines, "fuser", "student", *ablations]
        found = measure(workspace, config, phase, rows, size, k, names, ablations)
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


def render_report(bundle: Path) -> Path:
    """Rebuild ``report.html`` from what was stored; needs no Spark."""
    from remedi_spark.report.page.render import render  # plotly and its page: for the driver alone

    report = page.Report.model_validate_json(read_bytes(bundle / "report.json"))
    write_bytes(bundle / "report.html", render(report).encode())
    return bundle / "report.html"


def _report(
    workspace: Workspace, config: Config, phase: str, metrics: Metrics, found: Found, durations: dict[str, float],
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
