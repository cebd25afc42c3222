"""What a run leaves behind so that the next one computes only what has changed."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from remedi_spark.features.blueprint import Lookups
from remedi_spark.features.custom import source_hash
from remedi_spark.features.event_days import Bounds
from remedi_spark.features.expressions import digest
from remedi_spark.features.levels import LabelEvents, ResolvedGroup
from remedi_spark.spark.local_rows import local_rows
from remedi_spark.version import __version__

if TYPE_CHECKING:
    from remedi_spark.config.features import FeaturesConfig
    from remedi_spark.storage.tables import Tables

STATE = "feature_state"
FORMAT = 4
"""Raise it when partials mean something else than before: stored ones are then computed anew."""


@dataclass(frozen=True)
class Touched:
    """What the changes of the sources touch, as far as it is not yet in the tables; dates as ISO text."""

    known: Mapping[str, list[str]] = field(default_factory=dict)
    """By source: days on which something became known, whose partials are computed anew."""
    label_days: list[str] = field(default_factory=list)
    """Days of changed events of the label's source."""
    attributes_from: str | None = None
    """Snapshots from this day on see changed attributes."""

    def merged(self, other: Touched) -> Touched:
        """Return what either of both touches."""
        sources = sorted({*self.known, *other.known})
        froms = [day for day in (self.attributes_from, other.attributes_from) if day is not None]
        return Touched(
            {name: sorted({*self.known.get(name, []), *other.known.get(name, [])}) for name in sources},
            sorted({*self.label_days, *other.label_days}),
            min(froms, default=None),
        )

    @property
    def first(self) -> dt.date | None:
        """The first day from which snapshots see something else; None: no snapshot does."""
        days = [day for listed in self.known.values() for day in listed]
        days += [self.attributes_from] if self.attributes_from is not None else []
        return dt.date.fromisoformat(min(days)) if days else None


@dataclass(frozen=True)
class State:
    """The state of the tables after a run; ``pending`` is set while a run changes them."""

    config: str
    """Hash of the configuration and of the code's format."""
    base: Mapping[str, str]
    """Hashes of what all columns depend on: see :func:`base_hashes`."""
    columns: Mapping[str, str]
    """Definitions of the columns of ``owner_features`` that are sound, by name."""
    cells: Mapping[str, list[str]]
    """By source: names of the cells and label totals of its partials that are sound; others are left from before."""
    today: str
    fingerprints: Mapping[str, Any]
    bounds: tuple[str, str]
    lookups: Mapping[str, Any]
    snapshots: list[str]
    """Days of the snapshots in ``owner_features``."""
    labelled: Mapping[str, list[str]]
    """By label: those of them whose label window is observed as a whole."""
    findings: Mapping[str, Any]
    """By table: rows, failed rows and reasons, of all runs since the last full one."""
    version: int | None = None
    """Version of ``owner_features``."""
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """By snapshot: rows, labelled rows and positives in ``owner_features``."""
    summary: Mapping[str, Any] = field(default_factory=dict)
    past: Mapping[str, Any] = field(default_factory=dict)
    """By source: through which day its long past is kept in short, and at which version of that table."""
    mode: str = "full"
    """``full``, ``refresh`` or ``unchanged``: what the last run did."""
    pending: Mapping[str, Any] | None = None
    """What the run that is under way touches; ``{}`` stands for everything."""
    adding: bool = False
    """Whether columns are being added: ``owner_features`` may have been written once more."""

    @property
    def event_bounds(self) -> Bounds:
        """Days of the first and the last event."""
        return dt.date.fromisoformat(self.bounds[0]), dt.date.fromisoformat(self.bounds[1])

    def restored_lookups(self) -> Lookups:
        """Return the lookups as they were."""
        label = LabelEvents(**self.lookups["label"])
        further = {name: LabelEvents(**found) for name, found in self.lookups["further"].items()}
        return Lookups(label, tuple(ResolvedGroup(**group) for group in self.lookups["groups"]), further)


def config_hash(config: FeaturesConfig, zone: str = "") -> str:
    """Return the hash under which results are kept: what is declared, the code, and the zone that days are in."""
    declared = config.model_dump(mode="json", exclude={"refresh"})
    code = {name: source_hash(custom.factory) for name, custom in config.custom.items()}
    return digest([FORMAT, __version__, declared, zone, code])


OF_COLUMNS = {"windows", "groups", "ratios", "calendar", "custom", "label", "labels"}
"""Settings that define columns one by one; everything else decides about all rows."""


def base_hashes(config: FeaturesConfig, zone: str) -> dict[str, str]:
    """Return by setting the hashes of what every column depends on: sources, snapshots, eligibility, code, zone."""
    declared = config.model_dump(mode="json", exclude={"refresh", *OF_COLUMNS})
    found = {f"features.{name}": digest(value) for name, value in declared.items()}
    return found | {
        "the session's time zone": digest(zone),
        "the version of the package": digest([FORMAT, __version__]),
    }


def run_id(config: str, fingerprints: Mapping[str, Any]) -> str:
    """Return the name of a run over this input: the same again when it is repeated."""
    return hashlib.sha256(json.dumps([config, fingerprints], sort_keys=True).encode()).hexdigest()[:12]


def read_state(tables: Tables) -> State | None:
    """Return what the last run left, or None."""
    if not tables.exists(STATE):
        return None
    row = tables.read(STATE).first()
    if row is None:
        return None
    stored = json.loads(row["state"])
    try:
        return State(**{**stored, "bounds": tuple(stored["bounds"])})
    except (TypeError, KeyError):  # written by another version of the code
        return None


def write_state(tables: Tables, state: State) -> None:
    """Replace the state in one commit."""
    text = json.dumps(asdict(state), sort_keys=True)
    tables.overwrite(local_rows(tables.spark, [{"state": text}], "state string"), STATE)
