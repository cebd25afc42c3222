"""One run at a time in a root and in a bundle: a file that says who, since when, and that it is still alive.

``.remedi-lease.json`` holds run id, host, process, a hash of the configuration and the time of the last heartbeat. A
lease is void when its process is gone (on this host), or when no heartbeat came for :data:`STALE_SECONDS`.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from remedi_spark.errors import InputError
from remedi_spark.progress import run_id, warn
from remedi_spark.storage.file_systems import Files
from remedi_spark.storage.lease_files import LEASE, LeaseFile, LocalLease, RemoteLease

__all__ = ["LEASE", "Lease", "free_all", "leased"]
BEAT_SECONDS = 10.0
STALE_SECONDS = 120.0
"""Twelve heartbeats: a network file system, a long pause or another host's clock may delay some."""
_held: dict[str, Lease] = {}
"""By token: the leases of this process."""


@dataclass
class Lease:
    """A lease that this process holds on a folder."""

    file: LeaseFile
    facts: dict[str, Any]
    lost: bool = False
    made: tuple[Path, ...] = ()
    """Folders that were made for it: an empty one goes with it."""
    _ended: threading.Event = field(default_factory=threading.Event)

    @property
    def folder(self) -> str:
        """The folder, as messages name it."""
        return self.file.name

    def require_held(self) -> None:
        """Refuse to go on when another run has taken over, for example while this machine was asleep.

        Raises:
            InputError: says who.
        """
        found = self.file.read()
        if self.lost or (found is not None and found.get("token") != self.facts["token"]):
            raise InputError(f"{self.folder}: {_who(found or {})} has taken over meanwhile; nothing is published")

    def beat(self) -> None:
        """Write a heartbeat for as long as the lease is held."""
        while not self._ended.wait(BEAT_SECONDS):
            with suppress(OSError, ValueError):
                if not self.file.renew({**self.facts, "beat": time.time()}):
                    self.lost = True
                    return

    def free(self) -> None:
        """Give the folder to others."""
        self._ended.set()
        _held.pop(self.facts["token"], None)
        with suppress(OSError):
            found = self.file.read()
            if found is not None and found.get("token") == self.facts["token"]:
                self.file.remove()
        for folder in self.made:
            with suppress(OSError):
                folder.rmdir()


@contextmanager
def leased(folders: Sequence[Path | Files], configuration: str) -> Iterator[list[Lease]]:
    """Hold the leases of folders, which are made where they are missing.

    Args:
        folders: each once, whatever it is called.
        configuration: hash of the settings of the run.

    Raises:
        InputError: another run holds one of them: who, since when, and what to do.
    """
    with ExitStack() as stack:
        taken = []
        for file in _lease_files(folders):
            lease = _take(file, configuration)
            stack.callback(lease.free)
            threading.Thread(target=lease.beat, daemon=True, name="remedi-lease").start()
            taken.append(lease)
        yield taken


def free_all() -> None:
    """Free the leases of this process, which is about to end."""
    for lease in list(_held.values()):
        lease.free()


def _lease_files(folders: Sequence[Path | Files]) -> list[LeaseFile]:
    """Return the files of the leases, each once, in an order that is the same for all runs."""
    here = sorted({folder.resolve() for folder in folders if isinstance(folder, Path)})
    there = {folder.address: folder for folder in folders if isinstance(folder, Files)}
    return [*map(LocalLease, here), *(RemoteLease(there[address]) for address in sorted(there))]


def _take(file: LeaseFile, configuration: str) -> Lease:
    made = file.make_folder()
    now = time.time()
    facts: dict[str, Any] = {
        "run_id": run_id(), "host": socket.gethostname(), "pid": os.getpid(), "configuration": configuration,
        "since": datetime.now(UTC).isoformat(timespec="seconds"), "token": uuid.uuid4().hex, "beat": now,
    }  # fmt: skip
    lease = Lease(file, facts, made=made)
    _held[str(facts["token"])] = lease
    try:
        _write(lease, configuration)
    except BaseException:
        lease.free()
        raise
    return lease


def _write(lease: Lease, configuration: str) -> None:
    file, facts = lease.file, lease.facts
    if not file.create(facts):
        found = file.read()
        if found is not None and _alive(found):
            _refuse(file.name, found, configuration)
        if found is not None:
            warn("lease", f"{file.name}: {_who(found)} has ended without freeing it; taken over")
        # Whoever writes last has it: look again when everyone who saw the old one has written.
        file.replace(facts)
        time.sleep(file.settle_seconds)
        found = file.read()
        if found is None or found.get("token") != facts["token"]:
            _refuse(file.name, found or {}, configuration)


def _alive(found: dict[str, Any]) -> bool:
    if found.get("host") == socket.gethostname() and isinstance(found.get("pid"), int):
        if found["pid"] == os.getpid():
            return found.get("token") in _held  # else the process of that number is gone, as in a container
        try:
            os.kill(found["pid"], 0)
        except ProcessLookupError:
            return False
        except OSError:
            pass  # another user's
    beat = found.get("beat")
    return isinstance(beat, int | float) and abs(time.time() - beat) < STALE_SECONDS


def _who(found: dict[str, Any]) -> str:
    return f"run {found.get('run_id', 'unknown')} (process {found.get('pid', '?')} on {found.get('host', '?')})"


def _refuse(folder: str, found: dict[str, Any], configuration: str) -> None:
    other = found.get("configuration", configuration) != configuration
    settings = "with other settings" if other else "with the same settings"
    raise InputError(
        f"{folder}: in use by {_who(found)} since {found.get('since', 'just now')}, {settings}; expected one run at a"
        f" time: wait until it has ended, or stop it (a run that was killed elsewhere frees it after"
        f" {STALE_SECONDS:.0f} s), or name another folder"
    )
