"""A refresh of the feature stage: what a change of the sources touches is computed, the rest stays."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from remedi_spark.columns import SNAPSHOT
from remedi_spark.features.blueprint import Blueprint, prepare
from remedi_spark.features.build import assemble, compute_partials
from remedi_spark.features.changes import changed_rows
from remedi_spark.features.event_days import event_calendar
from remedi_spark.features.label import relabel
from remedi_spark.features.past_tables import still_true, update_past, with_past
from remedi_spark.features.quality import Findings, good_rows, refuse_stale
from remedi_spark.features.reading import enrich
from remedi_spark.features.refresh import (
    SnapshotWork,
    needs_everything,
    snapshot_work,
    touched_by_attributes,
    touched_by_events,
)
from remedi_spark.features.snapshots import make_grid
from remedi_spark.features.sources import check_agreement, in_days
from remedi_spark.features.state import State, Touched, write_state
from remedi_spark.features.tables import (
    OWNER_FEATURES,
    FeatureRun,
    check,
    find_all,
    finish,
    load_tables,
    new_state,
    refuse_bad,
    stored_partials,
    write_features,
    write_partials,
    write_quarantine,
)
from remedi_spark.features.windows import Partials
from remedi_spark.progress import log
from remedi_spark.spark.side_by_side import side_by_side
from remedi_spark.storage.own_names import own_names

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from remedi_spark.storage.tables import Tables


def refresh(job: FeatureRun, state: State, mode: str = "unchanged") -> State | None:
    """Compute what the changes touch; None: they cannot be told apart, reach too far, or no partials are kept.

    ``mode`` is said of a run that finds nothing to do.
    """
    config = job.config
    known = {name: _add(state.findings.get(name), None) for name in job.declared}
    changed = _changed(job, state)
    # A source that stopped growing is the one that goes stale.
    for name, declared in job.declared.items():
        if changed is not None and name not in changed:
            refuse_stale(known[name], declared, job.today, job.where(name))
    if changed is None:
        return None
    touched = touched_by_events(config, changed, state, job.today)
    if touched is None:
        return None
    for name in config.attributes:
        if name in changed or state.fingerprints[name] != job.fingerprints[name]:
            first = touched_by_attributes(config, name, changed.get(name))
            touched = touched.merged(Touched(attributes_from=first))
    if state.pending is not None:
        touched = touched.merged(Touched(**state.pending))
    if touched == Touched() and state.pending is None:
        log("features", "nothing has changed")
        return finish(job, replace(state, mode=mode), unchanged=state.counts)
    return None if config.refresh == "full" else _apply(job, state, changed, touched)


def _apply(job: FeatureRun, state: State, changed: Mapping[str, DataFrame], touched: Touched) -> State | None:
    """Bring the tables up to date; None: what was looked up in the data may have changed."""
    tables, config = job.tables, job.config
    frames = load_tables(job, state)
    check_agreement(config, frames)
    new = {name: _judge_changed(job, name, rows, frames, touched) for name, rows in changed.items()}
    findings = find_all(job, new)
    total = {name: _add(state.findings.get(name), findings.get(name)) for name in job.declared}
    refuse_bad(job, findings, total)
    if needs_everything(touched, state, findings, config):
        return None
    checked = {name: check(job, name, frames[name], frames) for name in frames}
    good = {name: good_rows(rows) for name, rows in checked.items()}
    lookups = state.restored_lookups()
    before = prepare(tables.spark, config, good, bounds=state.event_bounds, lookups=lookups)
    past = still_true(tables, state, touched)
    write_state(tables, replace(state, pending=asdict(touched), past=past))

    def write_days(source: str) -> None:
        days = touched.known[source]
        rows = in_days(before.events[source], config.sources[source], days)
        write_partials(tables, source, compute_partials(before, source, rows), days)

    side_by_side(write_days, list(touched.known))
    kept = stored_partials(tables, before)
    bounds = event_calendar({source: part.days for source, part in kept.items()}, job.today).told()
    blueprint = replace(before, grid=make_grid(config.snapshots, config.label, *bounds))
    if blueprint.grid.start != before.grid.start:
        return None
    work = snapshot_work(blueprint.grid, blueprint.labels, state, touched)
    for name, rows in new.items():
        write_quarantine(job, name, rows, frames[name].columns, findings[name], whole=False)
    if work.build:
        past = update_past(tables, blueprint, kept, past, min(work.build))
    _write_snapshots(tables, blueprint, with_past(tables, kept, past), work)
    _say_work(touched, work)
    touched_days = {str(day) for day in work.days}
    left = {day: counts for day, counts in state.counts.items() if day not in touched_days}
    return finish(job, new_state(job, blueprint, total, bounds, "refresh", past), unchanged=left)


def _changed(job: FeatureRun, state: State) -> dict[str, DataFrame] | None:
    """Return the changed rows of each changed table; None when a source has changed in a way that cannot be told."""
    changed: dict[str, DataFrame] = {}
    moved = {name for name, now in job.fingerprints.items() if state.fingerprints.get(name) != now}
    for name in moved:
        declared, before, now = job.declared[name], state.fingerprints.get(name, {}), job.fingerprints[name]
        same_joins = before.get("joins") == now.get("joins")
        rows = changed_rows(job.tables.spark, declared, before, now) if same_joins else None
        if rows is not None:
            changed[name] = rows
        elif name in job.config.sources:
            return None
    for source in job.config.sources.values():
        # A row that was refused may now find what it refers to, however long ago it became known.
        if any(reference.to in moved for reference in source.contract.references.values()):
            return None
    return changed


def _judge_changed(
    job: FeatureRun, name: str, rows: DataFrame, frames: Mapping[str, DataFrame], touched: Touched
) -> DataFrame:
    if name not in job.config.sources:
        return check(job, name, rows, frames)
    source = job.config.sources[name]
    if source.contract.unique:  # an earlier copy of a new row may stand anywhere
        return in_days(check(job, name, frames[name], frames), source, touched.known.get(name, ["9999-12-31"]))
    return check(job, name, enrich(job.tables.spark, rows, source, job.where(name)), frames)


def _write_snapshots(tables: Tables, blueprint: Blueprint, kept: Mapping[str, Partials], work: SnapshotWork) -> None:
    if not work.days:
        return
    if set(work.build) == set(blueprint.grid.days):
        write_features(tables, blueprint, assemble(blueprint, kept), None)
        return
    parts = []
    if work.build:
        parts.append(assemble(blueprint, kept, work.build))
    if work.relabel:
        days = {source: part.days for source, part in kept.items()}
        stored = own_names(tables.read(OWNER_FEATURES)).filter(F.col(SNAPSHOT).isin(list(work.relabel)))
        # Those that depend on who was at risk are built anew where they change.
        labels = [label for label in blueprint.labels if label.config.at_risk_within_days is None]
        parts.append(relabel(stored, days, labels, blueprint.grid.only(work.relabel)))
    rows = parts[0] if parts else own_names(tables.read(OWNER_FEATURES)).limit(0)
    for part in parts[1:]:
        rows = rows.unionByName(part)
    write_features(tables, blueprint, rows, work.days)


def _say_work(touched: Touched, work: SnapshotWork) -> None:
    days = sum(len(days) for days in touched.known.values())
    log(
        "features",
        f"refreshed: {days} days of partials, {len(work.build)} snapshots, {len(work.relabel)} labels,"
        f" {len(work.drop)} snapshots dropped",
    )


def _add(before: Mapping[str, Any] | None, new: Findings | None) -> Findings:
    """Return the findings of all runs since the last full one."""
    if before is None or new is None:
        return new or _findings(before or {})
    old = _findings(before)
    reasons = {r: old.reasons.get(r, 0) + new.reasons.get(r, 0) for r in sorted({*old.reasons, *new.reasons})}
    lasts = [found.last for found in (old, new) if found.last is not None]
    firsts = [found.first for found in (old, new) if found.first is not None]
    return Findings(
        old.rows + new.rows, reasons, old.failed + new.failed,
        min(firsts, default=None), max(lasts, default=None), old.future + new.future,
    )  # fmt: skip


def _findings(stored: Mapping[str, Any]) -> Findings:
    first, last = (dt.date.fromisoformat(stored[key]) if stored.get(key) else None for key in ("first", "last"))
    return Findings(
        stored.get("rows", 0), stored.get("reasons", {}), stored.get("failed", 0), first, last, stored.get("future", 0)
    )
