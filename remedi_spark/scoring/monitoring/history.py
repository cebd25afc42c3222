"""The table ``monitoring``: what earlier scoring runs measured, and what has become of their scores since."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import pandas as pd
from pyspark.errors import AnalysisException
from pyspark.sql import functions as F

from remedi_spark.columns import LABEL, OWNER, SNAPSHOT
from remedi_spark.config.monitoring import MonitoringConfig
from remedi_spark.labels.binned import FINE, as_rows, count_scores
from remedi_spark.maths.ranking import ranking_metrics
from remedi_spark.progress import warn
from remedi_spark.scoring.monitoring.measures import Measure, Scored, realised_lift
from remedi_spark.spark.local_rows import local_rows
from remedi_spark.spark.names import quoted
from remedi_spark.storage.own_names import own_names

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

    from remedi_spark.storage.tables import Tables

MONITORING = "monitoring"
SCHEMA = (
    "run_id string, measured_at timestamp, source string, snapshot string, model_version string, part string,"
    " name string, metric string, value double, low double, high double, state string, replaced boolean"
)
"""A table of an earlier version has no ``low`` and ``high``; they are added by the next scoring run."""
LOOKED_AT_AGAIN = 4
_LABELS = ("labels", "labels_sum")
_REALISED = ("ap", "recall_at_k", "precision_at_k", "brier", "ece")


def to_frame(spark: SparkSession, scored: list[Scored]) -> DataFrame:
    """Return the rows of scoring runs, in one partition; ``replaced`` tells whether their scores were written."""
    rows = [
        {
            "run_id": one.run_id, "measured_at": one.measured_at, "source": one.table, "snapshot": one.snapshot,
            "model_version": one.model_version, "part": m.part, "name": m.name, "metric": m.metric,
            "value": _number(m.value), "low": _number(m.low), "high": _number(m.high),
            "state": m.state, "replaced": not one.refused,
        }
        for one in scored for m in one.measures
    ]  # fmt: skip
    return local_rows(spark, rows, SCHEMA)


def _number(value: float | None) -> float | None:
    return None if value is None else float(value)


def read_monitoring(tables: Tables, name: str = MONITORING) -> DataFrame:
    """Return the table with all its columns; those that an earlier version of it lacks are null."""
    rows = tables.read(name)
    missing = [one for one in ("low", "high") if one not in rows.columns]
    return rows.withColumns({one: F.lit(None).cast("double") for one in missing}) if missing else rows


def earlier(tables: Tables, name: str) -> pd.DataFrame | None:
    """Return what earlier runs found out about whole tables and past scores; None where there is nothing.

    A run that was stopped counts for nothing: tried again, it must be stopped again.
    """
    if not tables.exists(name):
        return None
    try:
        rows = read_monitoring(tables, name).where("replaced AND part IN ('table', 'estimated', 'realised')")
        return rows.select(
            "measured_at", "source", "snapshot", "model_version", "part", "name", "metric", "value", "low", "high"
        ).toPandas()
    except AnalysisException:
        warn("monitoring", f"{tables.location(name)} is of another version; earlier runs are not looked at")
        return None


def latest(tables: Tables, model_version: str) -> tuple[Any, list[Measure], list[Measure]] | None:
    """Return snapshot and measures of the last scoring run of a model, and all that is known of its past scores.

    None where the model has not scored yet.
    """
    if not tables.exists(MONITORING):
        return None
    written = read_monitoring(tables).where("replaced")
    mine = written.where(F.col("model_version") == model_version)
    last = mine.where("part = 'table'").orderBy(F.desc("measured_at"), F.desc("snapshot")).head(1)
    if not last:
        return None
    run, snapshot = last[0]["run_id"], last[0]["snapshot"]
    here = (F.col("run_id") == run) & F.col("snapshot").eqNullSafe(F.lit(snapshot))
    # The past scores may be of other models: whoever scores next measures them.
    found = written.where(here & (F.col("model_version") == model_version) | (F.col("part") == "realised")).collect()
    rows = [
        Measure(row["part"], row["name"], row["metric"], row["value"], row["state"], row["low"], row["high"])
        for row in sorted(found, key=lambda row: row["measured_at"])
    ]
    return snapshot, [one for one in rows if one.part != "realised"], [one for one in rows if one.part == "realised"]


def rows_before(facts: pd.DataFrame | None, table: str, snapshot: str | None) -> int | None:
    """Return the rows of the last scoring run of the latest snapshot of a table up to this one."""
    if facts is None:
        return None
    mine = facts[(facts["source"] == table) & (facts["metric"] == "rows") & (facts["part"] == "table")]
    if snapshot is not None:
        mine = mine[mine["snapshot"] <= snapshot]
    return int(mine.sort_values(["snapshot", "measured_at"])["value"].iloc[-1]) if len(mine) else None


def after_training(snapshot: date | None, until: str | None, days: int) -> bool:
    """Tell whether a snapshot's label window begins after those of all training labels have ended.

    Only then does the realised figure of a score say what the model is worth: no label of that time was learned from.
    """
    if snapshot is None or until is None:
        return False
    return snapshot >= date.fromisoformat(until[:10]) + timedelta(days=days)


def realised(
    tables: Tables, facts: pd.DataFrame | None, config: MonitoringConfig, column: str = LABEL
) -> Iterator[Measure]:
    """Measure past scores whose labels have become known, each (snapshot, model version) once, and again when revised.

    K is the number of rows that were marked ``in_top_k``. Labels count as revised when their number or their sum has
    changed; that is looked at for the last :data:`LOOKED_AT_AGAIN` snapshots that have been measured. ``column`` holds
    the label in ``owner_features``.
    """
    waiting, done = _waiting(facts), _done(facts)
    again = sorted({name.split(" ")[0] for name in done})[-LOOKED_AT_AGAIN:]
    if not waiting and not again:
        return
    days = sorted({date.fromisoformat(snapshot) for snapshot in [*again, *(snapshot for snapshot, _ in waiting)]})
    built = own_names(tables.read("owner_features")).where(F.col(SNAPSHOT).isin(days))
    labelled = built.select(OWNER, SNAPSHOT, F.col(quoted(column)).alias(LABEL)).where(F.col(LABEL).isNotNull())
    counted = labelled.groupBy(SNAPSHOT).agg(F.count("*"), F.sum(F.col(LABEL).cast("double"))).collect()
    totals = {str(row[0])[:10]: (float(row[1]), float(row[2])) for row in counted}
    revised = [name for name, found in done.items() if found != totals.get(name.split(" ")[0], found)]
    pairs = sorted(pair for pair in {*waiting, *(tuple(name.split(" ", 1)) for name in revised)} if pair[0] in totals)
    if not pairs:
        return
    scores = tables.read("scores").withColumn("pair", _pair(pairs)).where("pair IS NOT NULL")
    joined = scores.join(labelled.select(OWNER, SNAPSHOT, LABEL), [OWNER, SNAPSHOT])
    # A group is one task's: it gets counts by bin of the score, however many owners there are.
    listed = F.count_if("in_top_k").alias("listed")
    counts = count_scores(joined.withColumn(LABEL, F.col(LABEL).cast("double")), ["pair"], FINE, listed)
    for row in counts.groupBy("pair").applyInPandas(_measure, "pair int, found string").collect():
        snapshot, version = pairs[row["pair"]]
        labels = dict(zip(_LABELS, totals[snapshot], strict=True))
        yield from _told(f"{snapshot} {version}", {**json.loads(row["found"]), **labels}, config)


def _done(facts: pd.DataFrame | None) -> dict[str, tuple[float, float]]:
    """Return by name (snapshot and model version) the labels, and their sum, that past scores were measured with."""
    if facts is None:
        return {}
    kept = facts[(facts["part"] == "realised") & facts["metric"].isin(_LABELS)].sort_values("measured_at")
    found: dict[str, dict[str, float]] = {}
    for name, metric, value in zip(kept["name"], kept["metric"], kept["value"], strict=True):
        found.setdefault(str(name), {})[str(metric)] = float(value)
    whole = {name: one for name, one in found.items() if len(one) == len(_LABELS)}
    return {name: (one[_LABELS[0]], one[_LABELS[1]]) for name, one in whole.items()}


def _pair(pairs: Sequence[tuple[str, ...]]) -> Column:
    """Return the place of a score's snapshot and model version among ``pairs``; null: not among them."""
    known = F.create_map(*[F.lit(one) for i, pair in enumerate(pairs) for one in (" ".join(pair), i)])
    return known[F.concat_ws(" ", F.col(SNAPSHOT).cast("string"), F.col("model_version"))]


def _told(name: str, found: dict[str, float | None], config: MonitoringConfig) -> Iterator[Measure]:
    for metric, value in found.items():
        if metric == "lift_at_k":
            yield realised_lift(name, value, config)
        else:
            yield Measure("realised", name, metric, value)


def _waiting(facts: pd.DataFrame | None) -> set[tuple[str, str]]:
    """Return (snapshot, model version) of honest scores that have not been measured yet."""
    if facts is None:
        return set()
    honest = facts[(facts["metric"] == "after_training") & (facts["value"] == 1)]
    done = set(facts.loc[facts["part"] == "realised", "name"])
    pairs = set(zip(honest["snapshot"], honest["model_version"], strict=True))
    return {pair for pair in pairs if " ".join(pair) not in done}


def _measure(frame: pd.DataFrame) -> pd.DataFrame:
    labels, scores, weights = as_rows(frame)
    found = ranking_metrics(labels, scores, max(1, int(frame["listed"].sum())), weights)
    rows = float(weights.sum())
    facts = {name: found[name] for name in (*_REALISED, "lift_at_k")}
    facts |= {"rows": rows, "observed": float(labels @ weights) / rows, "predicted": float(scores @ weights) / rows}
    plain = {name: float(value) if math.isfinite(value) else None for name, value in facts.items()}
    return pd.DataFrame({"pair": [frame["pair"].iloc[0]], "found": [json.dumps(plain)]})
