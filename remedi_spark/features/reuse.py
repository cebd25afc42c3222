"""A configuration that gains or loses features or labels: only the new columns are computed, over the stored history.

Partials are stored under names that say their definition, and the state knows the definition of every column. What is
new is added to the partials as rows of their own (null in all other columns) and joined to ``owner_features`` in one
commit. Before anything is written the state gives up what is no longer sound, and says that columns are being added:
the next run after a kill adds them again, whatever was written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from remedi_spark.columns import LABEL, OWNER, SNAPSHOT
from remedi_spark.features.blueprint import Blueprint, latest_event, prepare
from remedi_spark.features.build import compute_partials, newest, with_custom, with_ratios
from remedi_spark.features.definitions import definitions, partial_columns
from remedi_spark.features.dictionary import dictionary_frame
from remedi_spark.features.distinct import CELL
from remedi_spark.features.past_tables import still_fits
from remedi_spark.features.quality import good_rows
from remedi_spark.features.sources import DAY, KNOWN, check_agreement
from remedi_spark.features.state import State, Touched, base_hashes, write_state
from remedi_spark.features.tables import (
    DICTIONARY,
    OWNER_FEATURES,
    FeatureRun,
    add_partials,
    check,
    counted,
    load_tables,
    new_state,
    stored_partials,
    write_features,
    write_partials,
)
from remedi_spark.features.windows import Partials, read_snapshots
from remedi_spark.progress import log
from remedi_spark.spark.names import quoted
from remedi_spark.spark.side_by_side import side_by_side
from remedi_spark.storage.own_names import own_names

if TYPE_CHECKING:
    from collections.abc import Collection

    from pyspark.sql import DataFrame

    from remedi_spark.config.features import FeaturesConfig
    from remedi_spark.storage.tables import Tables


def reusable(stored: Mapping[str, str], wanted: Mapping[str, str]) -> dict[str, str]:
    """Return, for each wanted column whose definition is stored, under which name; both are definitions by name."""
    names = {definition: name for name, definition in stored.items()}
    return {
        name: name if stored.get(name) == definition else names[definition]
        for name, definition in wanted.items()
        if definition in names
    }


def rebuild_reason(config: FeaturesConfig, zone: str, state: State) -> str | None:
    """Return why nothing that is stored can be reused; None: it can."""
    if config.refresh == "full":
        return "features.refresh is full, which keeps no partials"
    now = base_hashes(config, zone)
    changed = sorted(name for name in {*now, *state.base} if now.get(name) != state.base.get(name))
    return f"{' and '.join(changed)} changed" if changed else None


def add_columns(job: FeatureRun, state: State) -> State | str:
    """Bring the columns of the stored snapshots up to the configuration; or return why that cannot be done.

    The sources may have moved on: what they touch is left to the refresh that follows.
    """
    if reason := rebuild_reason(job.config, job.zone, state):
        return reason
    tables, config = job.tables, job.config
    frames = load_tables(job, state)
    check_agreement(config, frames)
    good = {name: good_rows(check(job, name, frames[name], frames)) for name in frames}
    blueprint = prepare(tables.spark, config, good, bounds=state.event_bounds, eligible=True)
    kept = reusable(state.columns, definitions(blueprint))
    whole = blueprint.grid
    blueprint = replace(blueprint, grid=whole.only(day for day in whole.days if str(day) in state.snapshots))
    if not kept or not blueprint.grid.days:
        return "no feature and no snapshot of this configuration is stored"
    wanted = {source: partial_columns(blueprint, source) for source in config.sources}
    sound = {source: [name for name in state.cells[source] if name in names] for source, names in wanted.items()}
    past = still_fits(tables, blueprint, state.past)
    columns = {stored: state.columns[stored] for stored in kept.values()}
    begun = replace(state, adding=True, columns=columns, cells=sound, past=past)
    write_state(tables, begun)
    side_by_side(lambda source: _complete(tables, blueprint, source, sound[source]), list(config.sources))
    rows = _with_columns(blueprint, own_names(tables.read(OWNER_FEATURES)), kept, stored_partials(tables, blueprint))
    write_features(tables, blueprint, rows, None)
    tables.overwrite(dictionary_frame(tables.spark, blueprint.entries), DICTIONARY)
    new = [entry.name for entry in blueprint.entries if entry.name not in kept]
    log("features", f"{len(new)} columns added, {len(kept)} kept" + (f": {', '.join(new[:5])}" if new else ""))
    return _done(job, begun, blueprint, counts=LABEL in kept, complete=blueprint.grid.days == whole.days)


def _done(job: FeatureRun, begun: State, blueprint: Blueprint, *, counts: bool, complete: bool) -> State:
    """Write down that the columns are there; a snapshot that is not is left to the refresh, and so are new rows."""
    fresh = new_state(job, blueprint, {}, begun.event_bounds, "added", begun.past)
    missing = None if complete else asdict(Touched())
    left = {day: begun.counts[day] for day in fresh.snapshots if day in begun.counts}
    done = replace(
        fresh, fingerprints=begun.fingerprints, today=begun.today, findings=begun.findings,
        summary={**begun.summary, "features": fresh.summary["features"]},
        counts=left if counts else counted(job.tables, fresh.snapshots), version=job.tables.version(OWNER_FEATURES),
        pending=missing if begun.pending is None else begun.pending,
    )  # fmt: skip
    write_state(job.tables, done)
    return done


def _complete(tables: Tables, blueprint: Blueprint, source: str, sound: Collection[str]) -> None:
    """Add the partials that are not stored yet."""
    missing = set(partial_columns(blueprint, source)) - {*sound}
    if not missing:
        return
    if missing & {*stored_partials(tables, blueprint)[source].days.columns}:  # left from before, or from a kill
        write_partials(tables, source, compute_partials(blueprint, source), None)
        return
    found = compute_partials(blueprint, source, without=sound)
    numbers = [cell.number for cell in blueprint.cells(source) if cell.partial == "values" and cell.name in missing]
    where = f"{CELL} IN ({', '.join(map(str, numbers))})"
    add_partials(tables, source, _with_something(found.days), found.values, where)


def _with_something(days: DataFrame) -> DataFrame | None:
    """Return the rows of daily partials that hold anything; None without a column that could."""
    own = [name for name in days.columns if name not in (OWNER, DAY, KNOWN)]
    return days.filter(F.greatest(*(F.col(name).isNotNull() for name in own), F.lit(False))) if own else None


def _with_columns(
    blueprint: Blueprint, stored: DataFrame, kept: Mapping[str, str], partials: Mapping[str, Partials]
) -> DataFrame:
    """Return the stored rows of the blueprint's snapshots with all columns of the configuration."""
    grid, config = blueprint.grid, blueprint.config
    there = (F.col(quoted(name)).alias(new) for new, name in kept.items())
    rows = stored.filter(F.col(SNAPSHOT).isin(list(grid.days))).select(OWNER, SNAPSHOT, *there)
    features = [feature for feature in blueprint.features if feature.entry.name not in kept]
    labels = [label for label in blueprint.labels if label.column not in kept]
    readings = dict.fromkeys(reading for feature in features for reading in feature.readings)
    latest = newest(blueprint) if any(label.config.at_risk_within_days is not None for label in labels) else None
    if latest is not None:
        readings |= dict.fromkeys(map(latest_event, partials))
    sources = {*(reading.cell.source for reading in readings), *(label.config.source for label in labels)}
    if sources:
        own = {source: part for source, part in partials.items() if source in sources}
        found = read_snapshots(own, readings, grid, [label.reading for label in labels])
        rows = rows.join(found, [OWNER, SNAPSHOT], "left")
    rows = rows.select(
        OWNER, SNAPSHOT, *(F.col(quoted(name)) for name in kept),
        *(feature.value.alias(feature.entry.name) for feature in features),
        *(label.value(grid, latest) for label in labels),
    )  # fmt: skip
    rows = with_ratios(rows, {name: one for name, one in config.ratios.items() if name not in kept})
    for name, custom in blueprint.custom.items():
        if any(entry.name not in kept for entry in custom.entries()):
            rows = with_custom(rows, blueprint, name, grid)
    return rows.select(OWNER, SNAPSHOT, *(F.col(quoted(entry.name)) for entry in blueprint.entries))
