"""Whether ``owner_features`` is what the raw events of today say: features of sampled owners, computed by hand.

For each sampled owner and snapshot, every feature and the label are computed again in plain Python from the raw rows as
they were known then (:mod:`remedi_spark.features.by_hand`), and compared with the table that models learn from and
score. A filter that was changed, rows that came in behind the back of a refresh, another time zone: all end as a
difference between the two.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from remedi_spark.columns import OWNER, SNAPSHOT
from remedi_spark.errors import InputError
from remedi_spark.features.blueprint import Blueprint, prepare
from remedi_spark.features.by_hand import Event, by_hand, label_by_hand
from remedi_spark.features.ids import id_text
from remedi_spark.features.nested import with_nested
from remedi_spark.features.nested_by_hand import nested_by_hand
from remedi_spark.features.ordered import HASHES
from remedi_spark.features.quality import checked, good_rows
from remedi_spark.features.raw_events import raw_attributes, raw_events
from remedi_spark.features.reading import ReadNested, read_tables
from remedi_spark.features.state import read_state
from remedi_spark.features.tables import OWNER_FEATURES, declared_tables
from remedi_spark.progress import log, run_id
from remedi_spark.spark.local_rows import local_rows
from remedi_spark.storage.own_names import own_names

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from remedi_spark.config import Config
    from remedi_spark.config.features import FeaturesConfig
    from remedi_spark.config.sources import Source
    from remedi_spark.features.label import LabelPlan
    from remedi_spark.features.snapshots import Grid
    from remedi_spark.storage.tables import Tables
    from remedi_spark.storage.workspace import Workspace

VERIFICATION = "verification"
ROW = "(row)"
"""In place of a feature: whether the owner has a row at the snapshot at all."""
SNAPSHOTS = 3
"""Of each owner: the latest one, and others by hash."""
SCHEMA = (
    "run_id string, verified_at timestamp, feature string, checked bigint, differing bigint, owner_id string,"
    " snapshot_date date, stored string, by_hand string"
)


@dataclass
class Verdict:
    """How one feature compares; the example is the first difference."""

    feature: str
    checked: int = 0
    differing: int = 0
    owner_id: str | None = None
    snapshot_date: dt.date | None = None
    stored: str | None = None
    by_hand: str | None = None

    def add(self, owner: str, day: dt.date, stored: Any, expected: Any, tolerance: float) -> None:
        """Compare two values."""
        self.checked += 1
        if _same(stored, expected, tolerance):
            return
        self.differing += 1
        if self.owner_id is None:
            self.owner_id, self.snapshot_date, self.stored, self.by_hand = owner, day, _text(stored), _text(expected)


@dataclass
class Verification:
    """What a verification found."""

    owners: int
    rows: int
    """Pairs of owner and snapshot."""
    verdicts: list[Verdict] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    """Features of custom classes: nobody else can compute them."""

    @property
    def differing(self) -> list[Verdict]:
        """The features of which any value differs, the worst first."""
        return sorted((one for one in self.verdicts if one.differing), key=lambda one: -one.differing)

    def in_words(self) -> str:
        """Return the result in one line."""
        if not self.differing:
            return f"{len(self.verdicts)} columns of {self.owners} owners, {self.rows} rows: all as by hand"
        worst = self.differing[0]
        return (
            f"{len(self.differing)} of {len(self.verdicts)} columns differ from what the raw events of today say,"
            f" {worst.feature} in {worst.differing} of {worst.checked} values: owner {worst.owner_id} at"
            f" {worst.snapshot_date} has {worst.stored}, expected {worst.by_hand}"
        )


def run(workspace: Workspace, config: Config, sample: int = 0, stop: bool = True) -> None:
    """Verify sampled owners and write the table ``verification``.

    Raises:
        InputError: values differ and ``stop``, or there is nothing to verify.
    """
    if config.features is None:
        raise InputError("configuration: no section 'features'; expected what owner_features was built from")
    found = verify(workspace.tables, config.features, sample or config.monitoring.verify_sample, config.seed)
    workspace.tables.overwrite(local_rows(workspace.tables.spark, _rows(found), SCHEMA), VERIFICATION)
    log("verify", found.in_words())
    if stop:
        refuse_differing(found.verdicts)


def refuse_differing(verdicts: Iterable[Verdict]) -> None:
    """Raise InputError when any value differs."""
    found = Verification(0, 0, list(verdicts))
    if found.differing:
        raise InputError(
            f"verify: {found.in_words()}; see the table {VERIFICATION}, and build again with remedi features --force"
            " if the sources or the configuration have changed"
        )


def stored_verdicts(tables: Tables) -> list[Verdict]:
    """Return what the last verification found."""
    rows = tables.read(VERIFICATION).drop("run_id", "verified_at").collect()
    return [Verdict(**row.asDict()) for row in rows]


def verify(tables: Tables, config: FeaturesConfig, sample: int, seed: int = 0) -> Verification:
    """Compare the stored features of sampled owners with those computed by hand from the sources as they are now."""
    blueprint = _blueprint(tables, config)
    owners = _sample(tables, blueprint, sample, seed)
    stored = _stored(tables, owners)
    raw = _blueprint(tables, config, _by_hand_of(config, owners)) if _nested(config) else blueprint
    events = {source: raw_events(raw, source, owners) for source in config.sources}
    attributes = {name: raw_attributes(blueprint, name, owners) for name in config.attributes}
    verdicts: dict[str, Verdict] = {}
    rows, custom = 0, {entry.name for one in blueprint.custom.values() for entry in one.entries()}
    for owner in owners:
        own = {source: of_source.get(owner, []) for source, of_source in events.items()}
        facts = {name: of_table.get(owner, []) for name, of_table in attributes.items()}
        for day in _days(blueprint.grid.days, owner, seed):
            rows += 1
            expected = _expected(blueprint, own, facts, day)
            for name, value, by, tolerance in _pairs(blueprint, stored.get((owner, day)), expected):
                if name not in custom:
                    verdicts.setdefault(name, Verdict(name)).add(owner, day, value, by, tolerance)
    return Verification(len(owners), rows, list(verdicts.values()), sorted(custom))


def _nested(config: FeaturesConfig) -> bool:
    return any(source.nested for source in config.sources.values())


def _by_hand_of(config: FeaturesConfig, owners: Sequence[str]) -> ReadNested:
    """Return what reads nested columns by hand, of these owners alone where nothing else is asked of the rows."""
    referred = {one.to for source in config.sources.values() for one in source.contract.references.values()}
    whole = [source for name, source in config.sources.items() if name in referred or source.contract.unique]

    def read(frame: DataFrame, source: Source, where: str) -> DataFrame:
        key = source.key or config.entity
        some = source not in whole and key in frame.columns
        return nested_by_hand(frame.filter(id_text(frame, key).isin(owners)) if some else frame, source, where)

    return read


def _blueprint(tables: Tables, config: FeaturesConfig, nested: ReadNested = with_nested) -> Blueprint:
    state = read_state(tables)
    if state is None or not tables.exists(OWNER_FEATURES):
        raise InputError(f"verify: no table {tables.location(OWNER_FEATURES)}; run remedi features first")
    frames, today = read_tables(tables.spark, config, {}, nested), dt.date.fromisoformat(state.today)
    declared = declared_tables(config)
    where = {name: f"features.{'sources' if name in config.sources else 'attributes'}.{name}" for name in declared}
    good = {
        name: good_rows(checked(frames[name], declared[name], config.entity, where[name], frames, today))
        for name in frames
    }
    return prepare(tables.spark, config, good, bounds=state.event_bounds, lookups=state.restored_lookups())


def _sample(tables: Tables, blueprint: Blueprint, sample: int, seed: int) -> list[str]:
    """Return owners by the hash of their id, of those in the table and of those with events."""
    known = [frame.select(OWNER) for frame in (tables.read(OWNER_FEATURES), *blueprint.events.values())]
    everyone = reduce(lambda a, b: a.unionByName(b), known).distinct()
    order = F.xxhash64(F.lit(seed), OWNER)
    return [row[0] for row in everyone.orderBy(order, OWNER).limit(sample).collect()]


def _stored(tables: Tables, owners: Sequence[str]) -> dict[tuple[str, dt.date], dict[str, Any]]:
    rows = own_names(tables.read(OWNER_FEATURES)).filter(F.col(OWNER).isin(list(owners)))
    names = rows.columns  # any words: a row's own access by name would do for some only
    return {(row[names.index(OWNER)], row[names.index(SNAPSHOT)]): dict(zip(names, row, strict=True))
            for row in rows.collect()}  # fmt: skip


def _days(days: Sequence[dt.date], owner: str, seed: int) -> list[dt.date]:
    def order(day: dt.date) -> str:
        return hashlib.sha256(f"{seed} {owner} {day}".encode()).hexdigest()

    return [days[-1], *sorted(days[:-1], key=order)[: SNAPSHOTS - 1]]


def _expected(
    blueprint: Blueprint, events: Mapping[str, Sequence[Event]], attributes: Mapping[str, Sequence[Any]], day: dt.date
) -> dict[str, Any] | None:
    """Return the row of an owner and snapshot, None where there should be none."""
    config = blueprint.config
    latest = max((one.day for own in events.values() for one in own if one.known <= day), default=None)
    within = config.eligibility.active_within_days
    if latest is None or (within is not None and (day - latest).days >= within):
        return None
    row: dict[str, Any] = dict(by_hand(config, blueprint.lookups.groups, events, day))
    for name, known in attributes.items():
        names, declared = blueprint.attribute_names[name], config.attributes[name]
        versions = {one.day: one for one in sorted(known, key=lambda one: one.order) if one.known <= day}
        held = known if declared.time is None else [*versions.values()]
        held = [one for one in held if one.until is None or day < one.until]
        values = max(held, key=lambda one: one.order).values if held else [None] * len(declared.columns)
        row |= {names[column]: value for column, value in zip(declared.columns, values, strict=True)}
    row |= {f"calendar_{part}": _calendar(day, part) for part in config.calendar}
    for label in blueprint.labels:
        row[label.column] = _label(label, events[label.config.source], day, latest, blueprint.grid)
    return row


def _label(label: LabelPlan, events: Sequence[Event], day: dt.date, latest: dt.date, grid: Grid) -> float | None:
    """Return a label of an owner whose latest known event was on the day ``latest``."""
    config, value = label.config, label_by_hand(label.config, events, day, label.column)
    if value and config.partly_observed == "positives":
        return value
    if day not in grid.labelled_days(config):
        return None
    risk = config.at_risk_within_days
    return None if not value and risk is not None and (day - latest).days >= risk else value


def _pairs(
    blueprint: Blueprint, stored: Mapping[str, Any] | None, expected: Mapping[str, Any] | None
) -> Iterator[tuple[str, Any, Any, float]]:
    """Return feature, stored value, value by hand, and how far apart they may be."""
    yield ROW, None if stored is None else "a row", None if expected is None else "a row", 0.0
    if stored is None or expected is None:
        return
    about = {feature.entry.name: reading.view for feature in blueprint.features for reading in feature.readings}
    for name, value in expected.items():
        tolerance = 1e-6
        if about.get(name) == "weighted":
            tolerance = 0.0101
        if about.get(name) == "distinct_about" and (value or 0) >= HASHES:
            tolerance = 0.3
        yield name, stored.get(name), value, tolerance


def _calendar(day: dt.date, part: str) -> int:
    parts = {
        "month": day.month, "quarter": (day.month + 2) // 3, "week_of_year": day.isocalendar().week,
        "day_of_week": day.isoweekday() % 7 + 1, "day_of_month": day.day, "day_of_year": day.timetuple().tm_yday,
    }  # fmt: skip
    return parts[part]


def _same(stored: Any, expected: Any, tolerance: float) -> bool:
    left, right = (None if isinstance(side, float) and math.isnan(side) else side for side in (stored, expected))
    if left is None or right is None:
        return left is right
    try:
        return math.isclose(float(left), float(right), rel_tol=tolerance, abs_tol=1e-6)
    except (TypeError, ValueError):
        return _text(left) == _text(right)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _rows(found: Verification) -> list[dict[str, Any]]:
    at = dt.datetime.now(dt.UTC).replace(microsecond=0)
    return [
        {
            "run_id": run_id(), "verified_at": at, "feature": one.feature, "checked": one.checked,
            "differing": one.differing, "owner_id": one.owner_id, "stored": one.stored, "by_hand": one.by_hand,
            "snapshot_date": None if one.snapshot_date is None else str(one.snapshot_date),
        }
        for one in found.verdicts
    ]  # fmt: skip
