"""What has been done, so that a rerun does not do it again: one row a finished unit of work in the table ``ledger``.

A unit is a stage, or one model of one fold. It is known by a hash of what it is made from: the package's code, the
libraries that fit and the session's clock, its settings, and the versions of the tables that it reads. It counts as
done when the ledger has that hash and what it wrote still stands as it left it, every table at that commit and every
file with that checksum. Whoever kills a run at any moment loses the units under way, and nothing else.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyspark.errors import AnalysisException

from remedi_spark import spans
from remedi_spark.environment import environment
from remedi_spark.errors import doing
from remedi_spark.progress import log, run_id, warn
from remedi_spark.spark.local_rows import local_rows
from remedi_spark.storage.store import checksums
from remedi_spark.version import __version__

if TYPE_CHECKING:
    from remedi_spark.storage.tables import Tables

LEDGER = "ledger"
SCHEMA = "unit string, key string, made string, run_id string, version string, seconds double, finished_at timestamp"
FLUSH_SECONDS = 30.0
"""Short units are written together: a commit for each of them would cost more than some of them do.

A run that is killed does at most this much again."""


@dataclass(frozen=True)
class Unit:
    """A piece of work and all that it depends on."""

    name: str
    settings: Any
    """JSON: whatever else than tables changes the result."""
    reads: tuple[str, ...] = ()
    """Tables of the root."""
    writes: tuple[str, ...] = ()
    """Tables of the root."""
    files: tuple[str, ...] = ()
    """Files below the bundle folder that it writes, as glob patterns."""


@dataclass
class Ledger:
    """The ledger of a root; with ``force``, nothing counts as done."""

    tables: Tables
    bundle: Path
    force: bool = False
    send: Callable[[], None] | None = None
    """Puts files where others find them; called before what they are is noted."""
    recorded: int = 0
    """Units done by this run."""
    _known: dict[str, set[tuple[str, str]]] | None = None
    _waiting: list[dict[str, Any]] = field(default_factory=list)
    _written: float = field(default_factory=time.monotonic)
    _lock: Any = field(default_factory=threading.RLock)

    def once(self, unit: Unit, work: Callable[[], object]) -> bool:
        """Do the work unless it is done; tell whether it was done now. Whoever calls this flushes in the end."""
        key = self.key(unit)
        if self.is_done(unit, key):
            log(unit.name.split("/")[0], f"{unit.name}: done before, skipped (--force does it again)")
            return False
        started = time.monotonic()
        with doing(unit=unit.name):
            work()
        self.record(unit, key, time.monotonic() - started)
        return True

    def key(self, unit: Unit) -> str:
        """Return the hash of what the unit is made from."""
        stamps = {name: self._stamp(name) for name in unit.reads}
        made_from = [environment(self.tables.spark), unit.name, unit.settings, stamps]
        return hashlib.sha256(json.dumps(made_from, sort_keys=True, default=str).encode()).hexdigest()

    def is_done(self, unit: Unit, key: str) -> bool:
        """Tell whether the unit was done with this key, and what it wrote is as it was left."""
        known = {made for done, made in self._load().get(unit.name, ()) if done == key}
        return not self.force and bool(known) and self._made(unit) in known

    def record(self, unit: Unit, key: str, seconds: float) -> None:
        """Note that the unit is done; written within :data:`FLUSH_SECONDS` if units go on ending, else by ``flush``."""
        made = self._made(unit)
        spans.unit(unit.name, seconds)
        row = {
            "unit": unit.name, "key": key, "made": made, "run_id": run_id(), "version": __version__,
            "seconds": seconds, "finished_at": datetime.now(UTC),
        }  # fmt: skip
        with self._lock:
            self._load().setdefault(unit.name, set()).add((key, made))
            self._waiting.append(row)
            self.recorded += 1
            due = time.monotonic() - self._written > FLUSH_SECONDS
        if due:
            self.flush()

    def flush(self) -> None:
        """Write what has been noted."""
        with self._lock:
            rows, self._waiting = self._waiting, []
            self._written = time.monotonic()
        if rows:
            if self.send is not None:
                self.send()
            self.tables.append(local_rows(self.tables.spark, rows, SCHEMA), LEDGER)

    def _load(self) -> dict[str, set[tuple[str, str]]]:
        with self._lock:
            if self._known is None:
                self._known = self._read()
            return self._known

    def _read(self) -> dict[str, set[tuple[str, str]]]:
        """Return, by unit, keys and what was made; in no order, so that a clock that went back does no harm."""
        if not self.tables.exists(LEDGER):
            return {}
        try:
            rows = self.tables.read(LEDGER).where("made IS NOT NULL").select("unit", "key", "made").distinct().collect()
        except AnalysisException:
            warn("ledger", "written by another version of remedi_spark; everything is done again")
            return {}
        known: dict[str, set[tuple[str, str]]] = {}
        for row in rows:
            known.setdefault(row["unit"], set()).add((row["key"], row["made"]))
        return known

    def _made(self, unit: Unit) -> str:
        tables = {name: self._stamp(name) for name in unit.writes}
        return json.dumps({"tables": tables, "files": checksums(self.bundle, unit.files)}, sort_keys=True)

    def _stamp(self, name: str) -> str | None:
        return self.tables.stamp(name) if self.tables.exists(name) else None
