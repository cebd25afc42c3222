"""Stage 7: how good the list is, measured on untouched rows; ``metrics.json``, ``report.json``, ``report.html``."""

from __future__ import annotations

import importlib.metadata
import math
import sys
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pandas as pd
import yaml
from pyspark.sql import functions as F
from pyspark.sql.pandas.functions import pandas_udf

from remedi_spark.bundle.bundle import load_parts
from remedi_spark.bundle.store import ModelStore, write_bytes, write_json
from remedi_spark.columns import KEY, LABEL, PART, SNAPSHOT
from remedi_spark.config import Config
from remedi_spark.encoding.contract import FeatureContract
from remedi_spark.encoding.encoder import Encoder
from remedi_spark.evaluation.drivers import effect, importance
from remedi_spark.evaluation.measures import compare_models, fidelity, gate_use, measure_by, measure_models
from remedi_spark.metrics.calibrators import calibrator_from_dict
from remedi_spark.monitoring.counting import count_rows
from remedi_spark.monitoring.distribution import Distribution
from remedi_spark.monitoring.health import health
from remedi_spark.monitoring.history import latest
from remedi_spark.monitoring.measures import against_training
from remedi_spark.nets.fuser import EXPERTS
from remedi_spark.progress import run_id, say
from remedi_spark.spark.joins import join_rows
from remedi_spark.spark.partitions import uniform
from remedi_spark.splits.holdout import TEST
from remedi_spark.workspace import FINAL, Workspace

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pyspark.sql import DataFrame

    from remedi_spark.reporting import Report

EXPLAINED_ROWS = 500
EFFECTS = 6
PACKAGES = ("remedi_spark", "pyspark", "delta-spark", "synapseml", "lightgbm", "xgboost", "torch", "numpy", "pandas")
_KINDS = {"mean": "baseline", "rank_mean": "baseline", "stack_lr": "baseline", "fuser": "fuser", "student": "student"}


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
    rows = _test_rows(workspace, phase, facts["phases"][phase]["models"], ablations).cache()
    try:
        size = rows.agg(F.count("*"), F.sum(LABEL)).collect()[0]
        k = max(1, math.ceil(config.scores.budget * size[0]))
        columns = {name: F.col(name) for name in [*facts["phases"][phase]["models"], *_KINDS, *ablations]}
        measured = measure_models(rows, columns, k, config.evaluation.bootstrap)
        head = {"rows": int(size[0]), "positives": int(size[1]), "k": k, "measured_on": facts["measured_on"]}
        metrics = _metrics(label, head, measured, config)
        if ablations:
            metrics["ablations"] = _differences(rows, ablations, k, config.evaluation.bootstrap)
        metrics["fidelity"] = fidelity(rows, "student", "fuser", k)
        report = _report(workspace, config, phase, rows, metrics, measured, durations)
    finally:
        rows.unpersist()
    write_json(workspace.bundle / "metrics.json", metrics)
    write_bytes(workspace.bundle / "report.json", report.model_dump_json(indent=1).encode())
    render_report(workspace.bundle)
    say("report", str(workspace.bundle / "report.html"))
    return metrics


def _differences(rows: DataFrame, ablations: Sequence[str], k: int, resamples: int) -> dict[str, Any]:
    """AP of the whole method's part less that of its ablation, on the same resampled rows."""
    whole = {name: "student" if name.startswith("student") else "fuser" for name in ablations}
    found = compare_models(rows, [(whole[name], name) for name in ablations], k, max(2, resamples))
    return {name: {"instead_of": whole[name], "ap_lost": found[whole[name], name]} for name in ablations}


def render_report(bundle: Path) -> Path:
    """Rebuild ``report.html`` from what was stored; needs no Spark."""
    from remedi_spark.bundle.store import read_bytes
    from remedi_spark.reporting import Report, render

    report = Report.model_validate_json(read_bytes(bundle / "report.json"))
    write_bytes(bundle / "report.html", render(report).encode())
    return bundle / "report.html"


def _test_rows(workspace: Workspace, phase: str, models: list[str], ablations: Sequence[str]) -> DataFrame:
    """Return the untouched rows with every model's score as a probability."""
    base = workspace.read(phase, "oof_predictions").where(F.col(PART) == TEST)
    fused = workspace.read(phase, "fused_scores")
    student = workspace.read(phase, "student_scores")
    rows = join_rows(join_rows(base, fused), student)
    if ablations:
        rows = join_rows(rows, workspace.read(phase, "ablation_scores"))
    probability = {name: 1 / (1 + F.exp(-F.col(name))) for name in ("mean", "stack_lr", "fuser", *ablations)}
    store = workspace.models(phase)
    calibrate = _calibrated(store)
    return rows.withColumns({**probability, "student": calibrate("student")})


def _calibrated(store: ModelStore) -> Any:
    stored = store.load("calibration")

    @pandas_udf("double")  # type: ignore[call-overload, untyped-decorator]
    def calibrate(margins: pd.Series) -> pd.Series:
        return pd.Series(calibrator_from_dict(stored)(margins.to_numpy()))

    return calibrate


def _metrics(label: str, head: dict[str, Any], measured: dict[str, Any], config: Config) -> dict[str, Any]:
    models = {name: found["metrics"] for name, found in measured.items()}
    return {
        "label": label,
        **head,
        "prior": head["positives"] / head["rows"],
        "budget": config.scores.budget,
        "seed": config.seed,
        "models": models,
        "intervals": {name: found["intervals"] for name, found in measured.items()},
        "retention": {name: _ratio(models["student"][name], models["fuser"][name]) for name in ("ap", "recall_at_k")},
    }


def _ratio(above: float | None, below: float | None) -> float | None:
    return above / below if above is not None and below else None


def _report(
    workspace: Workspace, config: Config, phase: str, rows: DataFrame, metrics: dict[str, Any],
    measured: dict[str, Any], durations: dict[str, float],
) -> Report:  # fmt: skip
    from remedi_spark import reporting

    contract = FeatureContract.from_dict(workspace.models(FINAL).load("contract"))
    tree: dict[str, Any] = {
        "head": _head(workspace, config, metrics),
        "models": [
            {
                "name": name,
                "kind": "ablation" if name in metrics.get("ablations", ()) else _KINDS.get(name, "base"),
                "metrics": found["metrics"],
                "intervals": found["intervals"],
            }
            for name, found in measured.items()
        ],
        "retention": metrics["retention"],
        "fidelity": metrics["fidelity"],
        "gains": [
            {"model": name, "share": found["gains"][0][1:], "recall": found["gains"][1][1:]}
            for name, found in measured.items()
            if None not in found["gains"][1]
        ],
        "calibration": _bins(measured["student"].get("reliability")),
        "experts": gate_use(rows, list(EXPERTS), "student"),
        **_drivers(workspace, contract, rows),
        "over_time": _over_time(rows, config.scores.budget, contract),
        "data_health": _health(workspace, config, contract, phase, rows),
        "training_curves": _curves(workspace, phase),
        "provenance": _provenance(workspace, config, durations),
    }
    return reporting.Report.model_validate(tree)


def _head(workspace: Workspace, config: Config, metrics: dict[str, Any]) -> dict[str, Any]:
    version = load_parts(workspace.bundle).model_version
    moment = datetime.now(UTC).replace(microsecond=0)
    kept = {name: metrics[name] for name in ("label", "measured_on", "rows", "positives", "prior", "k", "budget")}
    return {
        "title": f"Who to contact: {metrics['label']}", "run_id": run_id(), "model_version": version,
        "generated_at": moment.isoformat(), **kept,
    }  # fmt: skip


def _bins(reliability: dict[str, list[float]] | None) -> list[dict[str, float]]:
    if reliability is None:
        return []
    names = list(reliability)
    bins = [dict(zip(names, values, strict=True)) for values in zip(*reliability.values(), strict=True)]
    return [{**one, "rows": round(one["rows"])} for one in bins]


def _drivers(workspace: Workspace, contract: FeatureContract, rows: DataFrame) -> dict[str, Any]:
    scored = join_rows(rows.select("owner_id", SNAPSHOT, LABEL, "student"), workspace.tables.read("samples"))
    share = EXPLAINED_ROWS / max(1, rows.count())
    sample = scored.where(uniform("owner_id", 7) < share).select(*contract.columns)
    ordered = importance(sample, load_parts(workspace.bundle))
    strongest = [name for name, _ in ordered[:EFFECTS]]
    return {
        "importance": [{"feature": name, "importance": size} for name, size in ordered],
        "effects": [effect(scored, contract, name, "student") for name in strongest],
    }


def _over_time(rows: DataFrame, budget: float, contract: FeatureContract) -> list[dict[str, Any]]:
    if contract.time_column is None or rows.select(SNAPSHOT).distinct().count() > 120:
        return []
    found = measure_by(rows, F.col("student"), F.col(SNAPSHOT), budget)
    return [{"snapshot": facts.pop("level"), **facts} for facts in found]


def _health(
    workspace: Workspace, config: Config, contract: FeatureContract, phase: str, rows: DataFrame
) -> dict[str, Any] | None:
    """Say how the rows scored last differ from training or, where none were scored, the measured rows."""
    parts = load_parts(workspace.bundle)
    found = latest(workspace.tables, parts.model_version)
    if found is not None:
        snapshot, measures, past = found
        scored = next(int(one.value or 0) for one in measures if one.metric == "rows")
        return health(measures, f"rows scored of {snapshot}" if snapshot else "rows scored last", scored, past)
    if parts.distribution is None:
        return None
    distribution = Distribution.from_dict(parts.distribution)
    samples = join_rows(rows.select(*KEY), workspace.tables.read("samples"))
    now = count_rows(samples, Encoder.from_dict(parts.encoder), distribution.edges)
    # What is shipped has learned from the measured rows too, unless they came in a table of their own.
    then = replace(distribution if phase == FINAL else distribution.without(now), score_edges=[], score_counts=[])
    drift = list(against_training(now, then, contract.names, config.monitoring))
    return health(drift, "rows measured on", now.rows)


def _curves(workspace: Workspace, phase: str) -> list[dict[str, Any]]:
    curves = []
    for path in sorted((workspace.models(phase).root / "base_models").glob("*/fold_*.json")):
        fitted = workspace.models(phase).load(str(path.relative_to(workspace.models(phase).root).with_suffix("")))
        valid = fitted["info"].get("curve")
        if valid:
            fold = int(path.stem.removeprefix("fold_"))
            steps = list(range(1, len(valid) + 1))
            curves.append(
                {"model": path.parent.name, "fold": fold, "iteration": steps, "train": [], "valid": valid,
                 "loss": "log-loss on inner validation, by epoch"}
            )  # fmt: skip
    return curves


def _provenance(workspace: Workspace, config: Config, durations: dict[str, float]) -> dict[str, Any]:
    tables = [name for name in ("owner_features", "samples", "oof_predictions", "fused_scores", "student_scores")
              if workspace.tables.exists(name)]  # fmt: skip
    return {
        "configuration": yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True),
        "versions": {"python": sys.version.split()[0], **{name: _version(name) for name in PACKAGES}},
        "seeds": {"seed": config.seed},
        "tables": [{"name": name, "version": str(workspace.tables.version(name))} for name in tables],
        "durations": [{"stage": stage, "seconds": seconds} for stage, seconds in durations.items()],
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "the platform's"
