"""All scored snapshots of a root: ``history.html``, and the same figures in the table ``history``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from remedi_spark.config import Config
from remedi_spark.progress import log
from remedi_spark.report.page import model as page
from remedi_spark.report.page.nights import METRICS, Failure, History, Night, Told
from remedi_spark.scoring.monitoring.history import MONITORING, read_monitoring
from remedi_spark.scoring.monitoring.nights import read_nights
from remedi_spark.scoring.monitoring.verdict import verdict_of
from remedi_spark.spark.local_rows import local_rows
from remedi_spark.storage.home import Home
from remedi_spark.storage.store import write_bytes

if TYPE_CHECKING:
    from remedi_spark.storage.tables import Tables

HISTORY = "history"
_TOLD = [f"{metric}_{part}" for metric in METRICS for part in ("estimated", "low", "high", "realised")]
_NUMBERS = ("rows", "buyers", "promised", "score_psi", "recall_lost", "quarantined", "seconds")
SCHEMA = ", ".join([
    "snapshot string", "model_version string", "run_id string", "measured_at string", "state string",
    "costliest string", *(f"{name} double" for name in (*_NUMBERS, *_TOLD)),
])  # fmt: skip


def write_history(tables: Tables, home: Home, config: Config, title: str) -> Path:
    """Write the table ``history`` and the page beside the model; return the page's path."""
    from remedi_spark.report.page.history import render_history

    found = history_of(tables, config, title)
    tables.overwrite(local_rows(tables.spark, [_flat(night) for night in found.nights], SCHEMA), HISTORY)
    path = home.folder / "history.html"
    write_bytes(path, render_history(found).encode())
    home.send()
    log("report", f"{len(found.nights)} nights: {home.at(path.name)}")
    return path


def history_of(tables: Tables, config: Config, title: str) -> History:
    """Return all nights; none where nothing has been scored. Each snapshot and model is there as measured last."""
    figures = _figures(tables)
    ran = read_nights(tables)
    nights = [_night(rows, figures, ran) for _, rows in _runs(figures)]
    verdict = None
    if nights and config.task == "classification":
        last = max(nights, key=lambda night: night.measured_at)
        told = verdict_of(tables, last.model_version, config.monitoring)
        verdict = None if told is None else page.Verdict(decision=told.decision, reason=told.reason)
    made = datetime.now(UTC).replace(microsecond=0).isoformat()
    return History(title=title, made=made, nights=nights, failures=_failures(ran), verdict=verdict)


def _figures(tables: Tables) -> pd.DataFrame:
    columns = ["run_id", "measured_at", "snapshot", "model_version", "part", "name", "metric", "value", "low", "high",
               "state", "replaced"]  # fmt: skip
    if not tables.exists(MONITORING):
        return pd.DataFrame(columns=columns)
    wanted = "part IN ('table', 'score', 'estimated', 'realised') OR metric = 'recall_lost' OR state = 'stop'"
    return read_monitoring(tables).where(wanted).select(*columns).toPandas()


def _runs(figures: pd.DataFrame) -> list[tuple[Any, pd.DataFrame]]:
    """Return the rows of each snapshot's and model's last run, in the order of snapshots."""
    mine = figures[figures["part"] != "realised"]
    groups = mine.sort_values("measured_at", kind="stable").groupby(["snapshot", "model_version"], dropna=False)
    found = [(key, rows[rows["measured_at"] == rows["measured_at"].iloc[-1]]) for key, rows in groups]
    return sorted(found, key=lambda one: (str(one[0][0]), one[1]["measured_at"].iloc[-1]))


def _night(rows: pd.DataFrame, figures: pd.DataFrame, ran: pd.DataFrame) -> Night:
    first = rows.iloc[0]
    snapshot, version, run = first["snapshot"], first["model_version"], first["run_id"]
    named = f"{snapshot} {version}"
    came = figures[(figures["part"] == "realised") & (figures["name"] == named)].sort_values("measured_at")
    told, realised = _last(rows[rows["part"] == "estimated"]), _last(came)
    lost = rows[rows["metric"] == "recall_lost"].sort_values("value", ascending=False)
    mine = ran[ran["run_id"] == run]
    taken = mine.loc[(mine["kind"] == "run"), "value"]
    scored = figures.loc[(figures["run_id"] == run) & (figures["part"] == "table"), "snapshot"].nunique()
    refused = mine.loc[mine["metric"] == "quarantined", "value"]
    return Night(
        snapshot=str(first["measured_at"])[:10] if _missing(snapshot) else str(snapshot), model_version=str(version),
        run_id=str(run), measured_at=str(first["measured_at"]),
        state="ok" if not (rows["state"] != "ok").any() else "warn" if rows["replaced"].all() else "stopped",
        rows=_value(rows, "table", "rows"), score_psi=_value(rows, "score", "psi"),
        figures={metric: _told(told, realised, metric) for metric in METRICS if metric in {*told, *realised}},
        buyers=told.get("buyers_at_k", (None,))[0], promised=told.get("promised_recall", (None,))[0],
        costliest=str(lost["name"].iloc[0]) if len(lost) else None,
        recall_lost=float(lost["value"].iloc[0]) if len(lost) else None,
        quarantined=float(refused.sum()) if len(refused) else None,
        seconds=float(taken.iloc[-1]) / max(1, scored) if len(taken) else None,
    )  # fmt: skip


Figures = dict[str, tuple[float | None, float | None, float | None]]


def _last(rows: pd.DataFrame) -> Figures:
    """Return value, low and high by metric, as measured last."""
    parts = [rows[name].tolist() for name in ("metric", "value", "low", "high")]
    return {str(name): (_number(one), _number(low), _number(high)) for name, one, low, high in zip(*parts, strict=True)}


def _told(told: Mapping[str, Any], realised: Mapping[str, Any], metric: str) -> Told:
    value, low, high = told.get(metric, (None, None, None))
    return Told(estimated=value, low=low, high=high, realised=realised.get(metric, (None,))[0])


def _value(rows: pd.DataFrame, part: str, metric: str) -> float | None:
    found = rows.loc[(rows["part"] == part) & (rows["metric"] == metric), "value"]
    return _number(found.iloc[-1]) if len(found) else None


def _number(value: Any) -> float | None:
    return None if value is None or math.isnan(value) else float(value)


def _missing(value: Any) -> bool:
    return bool(pd.isna(value))


def _failures(ran: pd.DataFrame) -> list[Failure]:
    failed = ran[(ran["kind"] == "run") & (ran["state"] == "failed")].sort_values("at", ascending=False)
    return [
        Failure(at=str(at), run_id=str(run), verb=str(verb), stage=str(stage), note=str(note))
        for at, run, verb, stage, note in zip(
            *(failed[name].tolist() for name in ("at", "run_id", "verb", "name", "note")), strict=True
        )
    ]


def _flat(night: Night) -> dict[str, Any]:
    """Return a night as a row of the table."""
    told = {
        f"{metric}_{part}": getattr(night.figures[metric], part) if metric in night.figures else None
        for metric in METRICS for part in ("estimated", "low", "high", "realised")
    }  # fmt: skip
    return {**night.model_dump(exclude={"figures"}), **told}
