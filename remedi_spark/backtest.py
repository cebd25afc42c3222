"""Rolling origins: the whole chain, trained at each origin on what was known by then, judged on what came after.

An origin is a snapshot t. Training takes the labelled snapshots whose label window had ended by t, that is up to
t - gap - horizon; the owners of snapshot t are the test rows. An origin is known by its settings and by hashes of
its rows: a rerun skips origins that are finished, and new data leave the earlier ones as they are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from pyspark.sql import functions as F
from scipy.stats import t as student_t

from remedi_spark import chain, opening
from remedi_spark.columns import LABEL, OWNER, SNAPSHOT
from remedi_spark.errors import InputError
from remedi_spark.flow import FEATURES, STAGES
from remedi_spark.progress import log
from remedi_spark.report.page.backtest import MEASURES, render_backtest
from remedi_spark.report.page.formatting import metric
from remedi_spark.running import run_stages
from remedi_spark.samples.flat import FlatTable
from remedi_spark.spark.names import quoted
from remedi_spark.storage.home import Home
from remedi_spark.storage.ledger import Ledger, Unit
from remedi_spark.storage.own_names import as_stored, own_names
from remedi_spark.storage.publish import WORK
from remedi_spark.storage.store import read_json, write_bytes, write_json
from remedi_spark.storage.strict_json import finite
from remedi_spark.storage.tables import Tables

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from remedi_spark.config import Config
    from remedi_spark.storage.workspace import Workspace

SETTINGS = sorted({path for stage in STAGES[1:] for path in stage.settings} - {"mlflow", "monitoring"})
"""What of the configuration an origin depends on, beside its rows."""


@dataclass(frozen=True)
class Snapshot:
    """The labelled rows of one snapshot."""

    day: date
    rows: int
    positives: int
    """Rows whose label is not 0: without any, there is nothing that a list could hold."""
    content: str
    """A hash of the rows that does not depend on their order."""


def backtest(config: Config, origins: int, *, every_days: int | None = None, force: bool = False) -> dict[str, Any]:
    """Run the chain at the last ``origins`` origins; write ``backtest.json`` and ``backtest.html`` beside the model.

    Args:
        config: with a ``features`` section: stage 1 is refreshed first.
        origins: how many, at least 2.
        every_days: least days between two of them; None: the label's horizon, so that no label window counts twice.
        force: do finished origins again.

    Returns:
        What ``backtest.json`` holds: ``origins`` (day, rows, k, positives or, of amounts, their total, and by model
        each measure with its interval) and ``summary`` (by model and measure: mean over the origins, its 95 %
        interval, worst and best).

    Raises:
        InputError: fewer origins are possible, or an origin has too few positives.
    """
    if config.features is None:
        raise InputError("backtest: the configuration has no section 'features'; expected events to roll origins over")
    workspace = opening.open_workspace(config, force=force)
    with opening.holding(workspace, config):
        return _backtest(workspace, config, origins, every_days)


def _backtest(workspace: Workspace, config: Config, origins: int, every_days: int | None) -> dict[str, Any]:
    assert config.features is not None
    run_stages([FEATURES], STAGES, workspace, config)
    known = _snapshots(workspace, config)
    label = config.target
    assert label is not None
    embargo = timedelta(days=label.gap_days + label.horizon_days)
    chosen = choose_origins(known, origins, embargo, timedelta(days=every_days or label.horizon_days))
    ledger = Ledger(workspace.tables, workspace.home, workspace.force, workspace.send)
    found = [_origin(workspace, ledger, config, day, known, embargo) for day in chosen]
    tree = {
        "task": config.task, "label": config.label_name(), "budget": config.scores.budget,
        "embargo_days": embargo.days, "origins": found, "summary": summarise(found),
    }  # fmt: skip
    write_json(workspace.home / "backtest.json", finite(tree))
    write_bytes(workspace.home / "backtest.html", render_backtest(tree).encode())
    log("backtest", workspace.at("backtest.html"))
    return tree


def choose_origins(known: Sequence[Snapshot], count: int, embargo: timedelta, apart: timedelta) -> list[date]:
    """Return the latest ``count`` origins, ascending, at least ``apart`` days from one another.

    Raises:
        InputError: fewer are possible: each needs a labelled snapshot ``embargo`` days or more before it.
    """
    if count < 2:
        raise InputError(f"--origins {count}: expected at least 2")
    first = known[0].day + embargo if known else date.max
    chosen: list[date] = []
    for one in reversed(known):
        if one.day < first or len(chosen) == count:
            break
        if one.positives and (not chosen or chosen[-1] - one.day >= apart):
            chosen.append(one.day)
    if len(chosen) < count:
        raise InputError(
            f"--origins {count}: only {len(chosen)} are possible, {apart.days} days apart and with training snapshots "
            f"at least {embargo.days} days before them; ask for fewer, or let --every be shorter"
        )
    return chosen[::-1]


def _snapshots(workspace: Workspace, config: Config) -> list[Snapshot]:
    """Return the labelled snapshots with a hash of each one's rows, from one pass."""
    frame = _labelled(workspace, config)
    content = F.sum(F.xxhash64(*map(quoted, sorted(frame.columns))).cast("decimal(38,0)")).cast("string")
    counted = frame.groupBy(SNAPSHOT).agg(F.count("*"), F.sum((F.col(LABEL) != 0).cast("long")), content)
    return sorted((Snapshot(*row) for row in counted.collect()), key=lambda one: one.day)


def _labelled(workspace: Workspace, config: Config) -> DataFrame:
    """Return the rows with the label that is predicted, and without the others."""
    chosen, others = config.label_columns
    rows = own_names(workspace.tables.read("owner_features")).drop(*map(quoted, others))
    return as_stored(rows.withColumnRenamed(chosen, LABEL).where(F.col(LABEL).isNotNull()))


def _origin(
    workspace: Workspace, ledger: Ledger, config: Config, day: date, known: Sequence[Snapshot], embargo: timedelta
) -> dict[str, Any]:
    """Train and judge one origin, unless that is done; return its measures."""
    assert workspace.place is not None
    home = workspace.place.child(f"backtest/{day.isoformat()}")
    folder = home.folder
    used = [one for one in known if one.day == day or one.day <= day - embargo]
    settings = [config.values_of(SETTINGS), embargo.days, [one.content for one in used]]
    unit = Unit(f"backtest/{day}", settings, files=(f"backtest/{day}/metrics.json",))
    ledger.once(unit, lambda: _run_origin(workspace, config, home, day, embargo, settings))
    ledger.flush()
    metrics = read_json(folder / "metrics.json")
    models = {name: _measures(metrics, name) for name in metrics["models"]}
    kinds = read_json(folder / WORK / "phases.json")["phases"]
    base = sorted({name for phase in kinds.values() for name in phase["models"]})
    trained = sum(one.rows for one in used if one.day != day)
    return {"day": day.isoformat(), **_head(metrics), "trained_on": trained, "base_models": base, "models": models}


def _head(metrics: dict[str, Any]) -> dict[str, Any]:
    """Return the counts of an origin's rows."""
    if metrics["task"] == "classification":
        return {name: metrics[name] for name in ("rows", "positives", "k", "prior")}
    few = int(metrics["shots"]["student"]["few"]["rows"])
    return {**{name: metrics[name] for name in ("rows", "total", "k")}, "few_rows": few}


def _measures(metrics: dict[str, Any], model: str) -> dict[str, list[float | None]]:
    """Return each measure of a model with its interval."""
    values, intervals = dict(metrics["models"][model]), metrics["intervals"].get(model, {})
    if metrics["task"] == "regression":
        values["few_mae"] = metrics["shots"][model]["few"]["mae"]
    return {name: [values[name], *intervals.get(name, (None, None))] for name in MEASURES[metrics["task"]]}


def _run_origin(workspace: Workspace, config: Config, home: Home, day: date, embargo: timedelta, settings: Any) -> None:
    log("backtest", f"origin {day}")
    tables = Tables(workspace.tables.spark, home.at("rows"))
    frame = _labelled(workspace, config)
    slices = Unit("rows", settings, writes=("train", "test"))  # kept from an origin that was killed
    ledger = Ledger(tables, home.folder, workspace.force)
    ledger.once(slices, lambda: _write_rows(frame, tables, day, embargo))
    ledger.flush()
    source = FlatTable(tables.location("train"), LABEL, OWNER, SNAPSHOT, test=tables.location("test"))
    chain.train(tables.spark, source, home, config, force=workspace.force)
    for done in ("rows", "tables"):
        home.remove_tables(done)


def _write_rows(frame: DataFrame, tables: Tables, day: date, embargo: timedelta) -> None:
    tables.overwrite(frame.where(F.col(SNAPSHOT) <= F.lit(day - embargo)), "train")
    tables.overwrite(frame.where(F.col(SNAPSHOT) == F.lit(day)), "test")


def summarise(origins: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return, by model and measure, mean over the origins, its 95 % interval, the worst and the best.

    The interval is Student's, over origins as if they were independent; training rows overlap, so it is too narrow
    rather than too wide.
    """
    first = origins[0]["models"]
    return {
        name: {measure: _mean(measure, [one["models"][name][measure][0] for one in origins]) for measure in first[name]}
        for name in first
        if all(name in one["models"] for one in origins)
    }


def _mean(measure: str, values: Sequence[float | None]) -> dict[str, float | None]:
    known = np.array([value for value in values if value is not None and math.isfinite(value)])
    if len(known) < 2:
        return dict.fromkeys(("mean", "low", "high", "worst", "best"))
    half = float(student_t.ppf(0.975, len(known) - 1) * known.std(ddof=1) / math.sqrt(len(known)))
    mean = float(known.mean())
    ends = float(known.min()), float(known.max())
    worst, best = ends if metric(measure).best == "high" else ends[::-1]
    return {"mean": mean, "low": mean - half, "high": mean + half, "worst": worst, "best": best}
