"""The tables of the feature stage: what is read, written and remembered by a full build and by a refresh alike."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from remedi_spark.columns import LABEL, SNAPSHOT
from remedi_spark.features.blueprint import Blueprint
from remedi_spark.features.changes import Fingerprint, fingerprint
from remedi_spark.features.definitions import definitions, partial_columns
from remedi_spark.features.dictionary import with_comments
from remedi_spark.features.event_days import Bounds
from remedi_spark.features.expressions import sql_literal, word
from remedi_spark.features.quality import Findings, checked, find, quarantined, refuse, refuse_stale
from remedi_spark.features.reading import read_tables
from remedi_spark.features.sources import KNOWN
from remedi_spark.features.state import State, base_hashes, config_hash, run_id, write_state
from remedi_spark.features.windows import Partials
from remedi_spark.progress import warn
from remedi_spark.spark.names import quoted
from remedi_spark.spark.partitions import slots
from remedi_spark.spark.side_by_side import side_by_side
from remedi_spark.storage.own_names import as_stored, own_names

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from remedi_spark.config.features import FeaturesConfig
    from remedi_spark.config.sources import Attributes, Source
    from remedi_spark.storage.tables import Tables

OWNER_FEATURES = "owner_features"
DICTIONARY = "feature_dictionary"
QUARANTINE = "quarantine"
MONTH = "__known_month"
Counts = Mapping[str, Mapping[str, int]]
"""By snapshot: ``rows``, ``labelled`` and ``positives``."""


@dataclass(frozen=True)
class FeatureRun:
    """One run over one version of the sources."""

    tables: Tables
    config: FeaturesConfig
    today: dt.date
    fingerprints: Mapping[str, Fingerprint]
    zone: str
    """Time zone of the session."""

    @property
    def hash(self) -> str:
        """Hash of the configuration."""
        return config_hash(self.config, self.zone)

    @property
    def declared(self) -> dict[str, Source | Attributes]:
        """Sources and attributes by name."""
        return declared_tables(self.config)

    def where(self, name: str) -> str:
        """Return the key of the table in the configuration, for errors."""
        return f"features.{'sources' if name in self.config.sources else 'attributes'}.{name}"


def declared_tables(config: FeaturesConfig) -> dict[str, Source | Attributes]:
    """Return sources and attributes by name."""
    return {**config.sources, **config.attributes}


def check(job: FeatureRun, name: str, frame: DataFrame, others: Mapping[str, DataFrame]) -> DataFrame:
    """Return the rows of a table with the reasons for which each breaks the contract."""
    return checked(frame, job.declared[name], job.config.entity, job.where(name), others, job.today)


def find_all(job: FeatureRun, judged_rows: Mapping[str, DataFrame]) -> dict[str, Findings]:
    """Return by table what its judged rows tell."""
    names = list(judged_rows)
    found = side_by_side(lambda name: find(judged_rows[name], job.declared[name], job.where(name)), names)
    return dict(zip(names, found, strict=True))


def refuse_bad(job: FeatureRun, findings: Mapping[str, Findings], latest: Mapping[str, Findings]) -> None:
    """Raise InputError when too many of the rows found break the contract, or any table's ``latest`` are too old."""
    for name, found in findings.items():
        refuse(found, job.config.quarantine.max_share, job.where(name))
    for name, declared in job.declared.items():
        refuse_stale(latest[name], declared, job.today, job.where(name))


def fingerprint_of(tables: Tables, declared: Source | Attributes, where: str) -> Fingerprint:
    """Return what tells the present content of a table and of those it is joined with from any other."""
    found = fingerprint(tables.spark, declared, where)
    joins = getattr(declared, "joins", {})
    if joins:
        found["joins"] = {
            name: fingerprint(tables.spark, join, f"{where}.joins.{name}") for name, join in joins.items()
        }
    return found


def load_tables(job: FeatureRun, state: State | None = None) -> dict[str, DataFrame]:
    """Return the sources and attributes by name, those of Python packages by way of Delta."""
    tables, config = job.tables, job.config
    frames: dict[str, DataFrame] = {}
    for name, declared in job.declared.items():
        if declared.package is None:
            continue
        unchanged = state is not None and state.fingerprints.get(name) == job.fingerprints[name]
        if not (unchanged and tables.exists(word(name))):
            frame = read_tables(tables.spark, config, {})[name]
            # A package's file often is one row group, which one task alone would have to read ever after.
            key = F.col(quoted(declared.key or config.entity))
            tables.overwrite(as_stored(frame.repartition(slots(tables.spark), key)), word(name))
        frames[name] = own_names(tables.read(word(name)))
    return read_tables(tables.spark, config, frames)


def partial_names(config: FeaturesConfig) -> list[str]:
    """Return the names of the tables of daily partials."""
    return [f"{word(source)}_daily" for source in config.sources]


def write_partials(tables: Tables, source: str, partials: Partials, days: list[str] | None) -> None:
    """Replace all partials of a source, or those of the days on which something became known."""
    for suffix, frame in (("daily", partials.days), ("values", partials.values)):
        if frame is None:
            continue
        where = None if days is None else _on_days(KNOWN, days)
        tables.overwrite(_dated(frame), f"{word(source)}_{suffix}", where=where, partition_by=(MONTH,))


def add_partials(tables: Tables, source: str, days: DataFrame | None, values: DataFrame | None, where: str) -> None:
    """Add rows to the daily partials of a source, and put those of its values that ``where`` selects in place."""
    if days is not None:
        tables.append(_dated(days), f"{word(source)}_daily")
    if values is not None:
        tables.overwrite(_dated(values), f"{word(source)}_values", where=where, partition_by=(MONTH,))


def _dated(frame: DataFrame) -> DataFrame:
    return frame.withColumn(MONTH, F.date_format(KNOWN, "yyyy-MM")).repartition(MONTH)


def stored_partials(tables: Tables, blueprint: Blueprint) -> dict[str, Partials]:
    """Return the partials of all sources as they are stored."""
    return {
        source: Partials(
            tables.read(f"{word(source)}_daily"),
            tables.read(f"{word(source)}_values") if tables.exists(f"{word(source)}_values") else None,
        )
        for source in blueprint.config.sources
    }


def write_features(tables: Tables, blueprint: Blueprint, rows: DataFrame, days: tuple[dt.date, ...] | None) -> None:
    """Write a partition a snapshot: all of them, or only those given."""
    where = None if days is None else _on_days(SNAPSHOT, days)
    # One file a snapshot instead of one a task and snapshot: small files cost more than the shuffle.
    frame = as_stored(with_comments(rows, blueprint.entries)).repartition(SNAPSHOT)
    tables.overwrite(frame, OWNER_FEATURES, where=where, partition_by=(SNAPSHOT,))


def _on_days(column: str, days: Iterable[object]) -> str:
    dates = ", ".join(f"DATE '{day}'" for day in days)
    return f"{column} IN ({dates})"


def write_quarantine(
    job: FeatureRun, name: str, rows: DataFrame, columns: list[str], findings: Findings, *, whole: bool
) -> None:
    """Set the rows that break the contract aside; ``whole``: in place of all rows of the table."""
    if not findings.failed and not (whole and job.tables.exists(QUARANTINE)):
        return
    run = run_id(job.hash, job.fingerprints)
    where = f"source = {sql_literal(name)}" + ("" if whole else f" AND run = '{run}'")
    job.tables.overwrite(quarantined(rows, columns, name, run), QUARANTINE, where=where)
    if findings.failed:
        reasons = ", ".join(f"{reason} ({count})" for reason, count in findings.reasons.items())
        warn("features", f"{name}: {findings.failed} rows went to quarantine: {reasons}")


def new_state(
    job: FeatureRun,
    blueprint: Blueprint,
    findings: Mapping[str, Findings],
    bounds: Bounds,
    mode: str,
    past: Mapping[str, Any],
) -> State:
    """Return what to remember of a build."""
    grid = blueprint.grid
    failed = {name: dict(found.reasons) for name, found in findings.items() if found.failed}
    return State(
        config=job.hash,
        base=base_hashes(job.config, job.zone),
        columns=definitions(blueprint),
        cells={source: partial_columns(blueprint, source) for source in job.config.sources},
        today=str(job.today),
        fingerprints=job.fingerprints,
        bounds=(str(bounds[0]), str(bounds[1])),
        lookups=asdict(blueprint.lookups),
        snapshots=[str(day) for day in grid.days],
        labelled={one.column: [str(day) for day in grid.labelled_days(one.config)] for one in blueprint.labels},
        findings={name: _plain_findings(found) for name, found in findings.items()},
        summary={
            "features": len(blueprint.entries) - len(blueprint.labels),
            "quarantined": sum(found.failed for found in findings.values()),
            "quarantine": failed,
        },
        past=past,
        mode=mode,
    )


def finish(job: FeatureRun, state: State, *, unchanged: Counts | None = None) -> State:
    """Count what stands in the table, and say that nothing is under way any more.

    ``unchanged``: what stood in the snapshots that the run left as they were; only the others are counted.
    """
    left = {day: unchanged[day] for day in state.snapshots if unchanged is not None and day in unchanged}
    counts = {**left, **counted(job.tables, [day for day in state.snapshots if day not in left])}
    totals = {name: sum(of_day[name] for of_day in counts.values()) for name in ("rows", "labelled", "positives")}
    done = replace(
        state, summary={**state.summary, **totals, "snapshots": len(counts)}, counts=counts,
        version=job.tables.version(OWNER_FEATURES), fingerprints=job.fingerprints, today=str(job.today),
    )  # fmt: skip
    write_state(job.tables, done)
    return done


def _plain_findings(found: Findings) -> dict[str, Any]:
    ends = {name: str(value) if value else None for name, value in (("first", found.first), ("last", found.last))}
    kept = {field.name: getattr(found, field.name) for field in fields(found) if field.name != "days"}
    return {**kept, **ends}


def counted(tables: Tables, days: list[str]) -> dict[str, dict[str, int]]:
    """Return by snapshot what stands in it; a snapshot without rows is left out."""
    if not days:
        return {}
    by_day = (
        tables.read(OWNER_FEATURES)
        .where(_on_days(SNAPSHOT, days))
        .groupBy(SNAPSHOT)
        .agg(
            F.count("*").alias("rows"),
            F.count(LABEL).alias("labelled"),
            F.count(F.when(F.col(LABEL) > 0, 1)).alias("positives"),
        )
    )
    counted = {str(row[SNAPSHOT]): row.asDict() for row in by_day.collect()}
    return {day: {name: counted[day][name] for name in ("rows", "labelled", "positives")} for day in sorted(counted)}
