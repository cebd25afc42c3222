"""Stage 1: events and owner attributes in, ``owner_features`` and its dictionary out.

The first run computes everything and keeps daily partials. Later ones compute what the change of the sources touches
(``features/refresh.py``), with the same result to the last bit. Order matters for a run that is killed: the state says
what is under way before a table is changed, and that it is done only after the last one was.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from remedi_spark.errors import InputError
from remedi_spark.features.blueprint import prepare
from remedi_spark.features.build import assemble, compute_partials
from remedi_spark.features.dictionary import dictionary_frame
from remedi_spark.features.event_days import calendar_of
from remedi_spark.features.past_tables import update_past
from remedi_spark.features.quality import good_rows
from remedi_spark.features.refresh_stage import refresh
from remedi_spark.features.reuse import add_columns
from remedi_spark.features.sources import check_agreement
from remedi_spark.features.state import State, read_state, write_state
from remedi_spark.features.tables import (
    DICTIONARY,
    OWNER_FEATURES,
    FeatureRun,
    check,
    declared_tables,
    find_all,
    fingerprint_of,
    finish,
    load_tables,
    new_state,
    partial_names,
    refuse_bad,
    stored_partials,
    write_features,
    write_partials,
    write_quarantine,
)
from remedi_spark.progress import log
from remedi_spark.spark.side_by_side import side_by_side, together
from remedi_spark.storage.ledger import Unit

if TYPE_CHECKING:
    from remedi_spark.config import Config
    from remedi_spark.config.features import FeaturesConfig
    from remedi_spark.storage.tables import Tables
    from remedi_spark.storage.workspace import Workspace


def run(tables: Tables, config: FeaturesConfig, *, today: dt.date | None = None, force: bool = False) -> dict[str, Any]:
    """Bring ``owner_features``, ``feature_dictionary`` and ``quarantine`` up to date with the sources.

    Nothing is done when neither the sources nor the configuration have changed; only what a change touches is computed
    when rows, features or labels were added (see ``docs/features.md``), and everything otherwise. Sources and
    attributes that come from a Python package are first loaded into Delta tables of their own names; the user's own
    tables are read where they are.

    Args:
        today: The day of the run, for freshness and for event times in the future; None: today in the session's time
            zone.
        force: Compute everything anew.

    Returns:
        ``rows``, ``positives`` (labelled rows with label > 0), ``labelled`` (rows with a label), ``snapshots``,
        ``features``, ``quarantined`` (rows that break the contract), ``quarantine`` (those by table and reason),
        ``mode`` (``full``, ``refresh``, ``added`` (columns) or ``unchanged``: what was done) and ``seconds``.

    Raises:
        InputError: When the configuration does not fit the data, or too many rows break the contract; nothing is
            written then.
    """
    started = time.monotonic()
    fingerprints = {
        name: fingerprint_of(tables, declared, f"features.{name}") for name, declared in declared_tables(config).items()
    }
    zone = str(tables.spark.conf.get("spark.sql.session.timeZone"))
    job = FeatureRun(tables, config, today or _today(tables), fingerprints, zone)
    done = None if force else _brought_up(job)
    done = done or _build_all(job)
    return {**done.summary, "mode": done.mode, "seconds": round(time.monotonic() - started, 1)}


def refresh_all(workspace: Workspace, config: Config) -> None:
    """Run the stage in a workspace; what is done is known by the stage itself, and the ledger only tells of it.

    Raises:
        InputError: as :func:`run`, or there is nothing to build from.
    """
    if config.features is None:
        raise InputError("configuration: no section 'features'; expected sources, groups and a label to build from")
    done = run(workspace.tables, config.features, force=workspace.force)
    if done["mode"] != "unchanged":
        unit = Unit("features", config.features.model_dump(mode="json"), (), (OWNER_FEATURES,))
        workspace.ledger.record(unit, workspace.ledger.key(unit), done["seconds"])


def _today(tables: Tables) -> dt.date:
    """Return the day in the session's time zone, in which the days of events are too."""
    day: dt.date = tables.spark.sql("SELECT current_date()").collect()[0][0]
    return day


def _brought_up(job: FeatureRun) -> State | None:
    """Bring the tables up to date from what the last run left; None: everything has to be computed."""
    state = read_state(job.tables)
    if state is None or state.pending == {} or not _stands(job, state):
        return None
    if state.config == job.hash and not state.adding:
        return refresh(job, state)
    added = add_columns(job, state)
    if isinstance(added, str):
        log("features", f"rebuild because {added}")
        return None
    return refresh(job, added, "added")


def _stands(job: FeatureRun, state: State) -> bool:
    """Whether the tables are there, and nobody else wrote to them since."""
    partials = partial_names(job.config) if job.config.refresh == "incremental" else []
    if not all(job.tables.exists(name) for name in (OWNER_FEATURES, DICTIONARY, *partials)):
        return False
    if state.adding:  # killed before or after the one commit
        return state.version is not None and job.tables.version(OWNER_FEATURES) - state.version in (0, 1)
    return state.pending is not None or state.version == job.tables.version(OWNER_FEATURES)


def _build_all(job: FeatureRun) -> State:
    tables, config = job.tables, job.config
    frames = load_tables(job)
    check_agreement(config, frames)
    checked = {name: check(job, name, frames[name], frames) for name in frames}
    findings = find_all(job, checked)
    refuse_bad(job, findings, findings)
    calendar = calendar_of((day for found in findings.values() for day in found.days), job.today)
    bounds = calendar.told() if calendar else None
    good = {name: good_rows(rows) for name, rows in checked.items()}
    blueprint = prepare(tables.spark, config, good, bounds=bounds)
    assert bounds is not None  # without any event there is no blueprint
    state = new_state(job, blueprint, findings, bounds, "full", {})
    write_state(tables, replace(state, pending={}))
    partials = {source: compute_partials(blueprint, source) for source in config.sources}
    if config.refresh == "incremental":
        side_by_side(lambda source: write_partials(tables, source, partials[source], None), list(partials))
        partials = stored_partials(tables, blueprint)
    for name, rows in checked.items():
        write_quarantine(job, name, rows, frames[name].columns, findings[name], whole=True)
    features = assemble(blueprint, partials)
    dictionary = dictionary_frame(tables.spark, blueprint.entries)
    writes: dict[str, Callable[[], Any]] = {
        OWNER_FEATURES: lambda: write_features(tables, blueprint, features, None),
        DICTIONARY: lambda: tables.overwrite(dictionary, DICTIONARY),
    }
    if config.refresh == "incremental":
        following = blueprint.grid.days[-1] + dt.timedelta(days=blueprint.grid.every)
        writes["past"] = lambda: update_past(tables, blueprint, partials, {}, following)
    done = together(writes)
    return finish(job, replace(state, past=done.get("past", {})))
