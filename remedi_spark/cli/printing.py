"""Results on stdout, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from remedi_spark.storage.workspace import Workspace


_SHOWN = {
    "classification": ("ap", "auc", "recall_at_k", "precision_at_k", "lift_at_k", "brier", "ece"),
    "regression": ("mae", "rmse", "gmae", "sera", "spearman", "value_at_k"),
}
_LARGE = 1e8
"""From here on, four decimals do not fit into a column."""
_KEPT = {
    "ap": "the fuser's AP", "recall_at_k": "its recall at K",
    "value_at_k": "the fuser's value at K", "mae": "its accuracy (MAE)",
}  # fmt: skip


def print_metrics(metrics: dict[str, Any]) -> None:
    """Print ``metrics.json`` as a table of models."""
    names = _SHOWN[metrics["task"]]
    rows, k = metrics["rows"], metrics["k"]
    positives = "" if metrics["positives"] is None else f" {metrics['positives']} positive,"
    typer.echo(f"\n{metrics['label']}: {rows} rows,{positives} K = {k} ({metrics['measured_on']})\n")
    if learned := metrics.get("learned_from"):
        typer.echo(f"learned from {learned['rows_used']} of {learned['rows']} training rows\n")
    width = max(16, 1 + max(map(len, metrics["models"])))
    typer.echo(f"{'model':<{width}}" + "".join(f"{name:>16}" for name in names))
    for model, values in metrics["models"].items():
        cells = (_figure(values[name]) for name in names)
        typer.echo(f"{model:<{width}}" + "".join(f"{cell:>16}" for cell in cells))
    kept = [
        f"{'n/a' if value is None else f'{value:.1%}'} of {_KEPT[name]}" for name, value in metrics["retention"].items()
    ]
    typer.echo(f"\nstudent ({_made_of(metrics)}) keeps {' and '.join(kept)}")
    _print_shots(metrics.get("shots", {}).get("student", {}))
    for failed in metrics.get("failed", []):
        typer.echo(f"failed   {failed['model']} ({failed['phase']}) is not in the ensemble: {failed['reason']}")
    for warning in metrics.get("warnings", []):
        typer.echo(f"warning  {warning}")


def _figure(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if abs(value) < _LARGE else f"{value:.4g}"


def _made_of(metrics: dict[str, Any]) -> str:
    student = metrics["student"]
    return student["kind"] if student["kind"] == "distilled" else f"ensemble of {', '.join(student['names'])}"


def _print_shots(shots: dict[str, dict[str, Any]]) -> None:
    """Print the student's errors by how many training rows had a label like it."""
    for shot, found in shots.items():
        if found["rows"]:
            errors = "".join(f"{name:>8} {found[name]:<12.5g}" for name in ("mae", "rmse", "gmae"))
            typer.echo(f"student, {shot:<8}{found['rows']:>10.0f} rows{errors}")


def print_ablations(metrics: dict[str, Any]) -> None:
    """Print what each part of the method adds."""
    for name, found in metrics.get("ablations", {}).items():
        lost, low, high = ("n/a" if value is None else f"{value:+.4f}" for value in found["ap_lost"])
        whole, ap = found["instead_of"], metrics["models"][name]["ap"]
        typer.echo(f"{name:<22} AP {ap:.4f}   {whole} less {name}: {lost} ({low} to {high})")


def print_scores(workspace: Workspace, rows: int = 5) -> None:
    """Print the best rows of the last scoring run of the last snapshot."""
    from pyspark.sql import functions as F

    scores = workspace.tables.read("scores")
    last = ("snapshot_date", "scored_at", "model_version", "run_id")
    latest = scores.agg(F.max(F.struct(*last)).alias("last")).collect()[0]["last"]
    best = scores.where(F.col("rank") <= rows).orderBy("rank")
    for name in last:
        best = best.where(F.col(name) == latest[name])
    shown = best.select(
        "owner_id", "snapshot_date", F.round("score", 4).alias("score"), "rank", "decile", "in_top_k",
        F.element_at("reasons", 1)["text"].alias("strongest reason"),
    )  # fmt: skip
    typer.echo(shown.toPandas().to_string(index=False))


_BACKTEST = {
    "classification": (("ap", "AP"), ("lift_at_k", "lift"), "positives"),
    "regression": (("mae", "MAE"), ("value_at_k", "value at K"), "total"),
}
"""What a backtest prints, by task: the leading measure, the worth of the list, and the count beside the rows."""


def print_backtest(tree: dict[str, Any]) -> None:
    """Print the student's measures at every origin, and every model's mean over them."""
    (lead, short), (worth, worth_name), counted = _BACKTEST[tree["task"]]
    typer.echo(f"\n{tree['label']}: {len(tree['origins'])} origins, embargo {tree['embargo_days']} days\n")
    typer.echo(f"{'origin':<12}{'rows':>9}{counted:>12}{'student ' + short:>13}{'95 % interval':>20}{worth_name:>12}")
    for one in tree["origins"]:
        (value, low, high), list_worth = one["models"]["student"][lead], one["models"]["student"][worth][0]
        typer.echo(
            f"{one['day']:<12}{one['rows']:>9}{one[counted]:>12.0f}{_shown(value):>13}"
            f"{_shown(low) + ' to ' + _shown(high):>20}{_shown(list_worth):>12}"
        )
    typer.echo(f"\n{'model':<26}{'mean ' + short:>10}{'95 % interval':>20}{'mean ' + worth_name:>17}")
    for name, values in tree["summary"].items():
        one, mean_worth = values[lead], values[worth]["mean"]
        interval = _shown(one["low"]) + " to " + _shown(one["high"])
        typer.echo(f"{name:<26}{_shown(one['mean']):>10}{interval:>20}{_shown(mean_worth):>17}")


def _shown(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.2f}" if abs(value) >= 1 else f"{value:.4f}"
