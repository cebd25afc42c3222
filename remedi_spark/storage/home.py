"""A bundle at an address: a working folder of this process that mirrors it.

A bundle elsewhere (``s3a://bucket/model``) is worked on in a temporary folder: :meth:`Home.fetch` makes it what is at
the address, :meth:`Home.send` the address what is in it, before the ledger notes what was done and when a version is
published, so that a killed run goes on elsewhere with all that the ledger knows. Files come before the manifests that
name them, and what is gone is removed last: readers find one version or the other, whole. Tables are no files here:
Spark reads and writes them at the address.
"""

from __future__ import annotations

import atexit
import json
import re
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from remedi_spark.errors import InputError
from remedi_spark.reading.paths import is_remote
from remedi_spark.storage.file_systems import Files, reached
from remedi_spark.storage.manifest import MANIFEST
from remedi_spark.storage.places import local_name, require_local
from remedi_spark.storage.store import write_bytes

_TABLES = re.compile(r"(backtest/[^/]+/)?(tables|rows)/")
"""What Spark keeps below a bundle."""
_NAMING = (MANIFEST, "meta.json")
"""Files that name others, and are sent after them; the second of a meta model."""
_AT_ONCE = 8
"""Files that travel at the same time."""
_ATTEMPTS = 3


@dataclass
class Home:
    """A bundle's folder: where this process has it, and where others know it."""

    folder: Path
    address: str
    files: Files | None = None
    """Where it is mirrored to; None: the folder is all there is."""
    guard: Callable[[], None] | None = None
    """Called before anything is sent: raises if another run has taken over."""
    _sent: dict[str, tuple[int, int]] = field(default_factory=dict, repr=False)
    """By name, size and time of the local file that is at the address."""
    _found: dict[str, tuple[int, float]] = field(default_factory=dict, repr=False)
    """By name, size and time at the address of what was fetched."""
    _lock: Any = field(default_factory=threading.Lock, repr=False)

    def at(self, name: str) -> str:
        """Return where users find a file, or Spark a table, of the bundle."""
        return str(self.folder / name) if self.files is None else f"{self.address}/{name}"

    def has_tables(self) -> bool:
        """Whether a training keeps its tables here."""
        return (self.folder / "tables").exists() if self.files is None else self.files.exists("tables")

    def fetch(self) -> None:
        """Make the folder what is at the address, but for tables.

        Raises:
            InputError: the address cannot be read.
        """
        if self.files is None:
            return
        with self._lock, reached(self.address, "bundle"):
            head = self.files.read(MANIFEST)  # before the rest: the version that it names is kept for two more
            entries = self.files.entries(all_levels=True)
            there = {one.name: (one.size, one.modified) for one in entries if not one.is_folder and _mirrored(one.name)}
            for name in set(_local(self.folder)) - set(there):
                (self.folder / name).unlink(missing_ok=True)
            news = [name for name in there if there[name] != self._found.get(name) or name not in self._sent]
            _each(self._fetch, (name for name in news if name != MANIFEST))
            if head is not None:
                write_bytes(self.folder / MANIFEST, head)
            self._found, self._sent = there, _local(self.folder)

    def _fetch(self, name: str) -> None:
        assert self.files is not None
        content = self.files.read(name)
        if content is not None:
            write_bytes(self.folder / name, content)

    def send(self) -> None:
        """Make the address what is in the folder, as far as this process has changed it.

        Raises:
            InputError: another run has taken the lease.
        """
        if self.files is None:
            return
        with self._lock:
            now = _local(self.folder)
            changed = [name for name in now if now[name] != self._sent.get(name)]
            gone = [name for name in self._sent if name not in now]
            if not changed and not gone:
                return
            if self.guard is not None:
                self.guard()
            manifests, files = _manifests(changed), [name for name in changed if not _is_manifest(name)]
            _each(self.files.remove, _manifests(gone))
            _each(self._send, files)
            for name in manifests:
                self._send(name)
            _each(self.files.remove, [name for name in gone if not _is_manifest(name)])
            self._sent = now

    def _send(self, name: str) -> None:
        assert self.files is not None
        self.files.write(name, (self.folder / name).read_bytes())

    def discard(self, before: Iterable[str]) -> None:
        """Remove from the address all but what was there before."""
        if self.files is None:
            return
        for one in self.files.entries():
            if one.name not in before:
                self.files.remove_folder(one.name) if one.is_folder else self.files.remove(one.name)

    def names(self) -> set[str]:
        """Return what is at the top of the bundle, of whatever kind."""
        if self.files is not None:
            with reached(self.address, "model"):
                return {one.name for one in self.files.entries()}
        return {path.name for path in self.folder.iterdir()} if self.folder.is_dir() else set()

    def remove_tables(self, name: str) -> None:
        """Remove a folder of tables."""
        if self.files is None:
            shutil.rmtree(self.folder / name)
        else:
            self.files.remove_folder(name)

    def child(self, name: str) -> Home:
        """Return a bundle below this one."""
        return Home(
            self.folder / name, self.at(name), None if self.files is None else Files.at(self.at(name), "bundle")
        )

    @contextmanager
    def named(self) -> Iterator[None]:
        """Let messages of what is wrong name the address, not the folder that mirrors it."""
        try:
            yield
        except InputError as error:
            if self.files is None or str(self.folder) not in str(error):
                raise
            raise InputError(str(error).replace(str(self.folder), self.address)) from error.__cause__


def home_at(address: str | Path, what: str) -> Home:
    """Return the bundle at an address or in a folder, without looking there.

    Args:
        address: as the user gave it.
        what: the setting or option, for messages.

    Raises:
        InputError: no file system is known for the address.
    """
    name = local_name(str(address))
    if not is_remote(name):
        folder = require_local(name, what)
        return Home(folder, str(folder))
    files = Files.at(name, what)
    return Home(_temporary(), files.address, files)


def open_home(address: str | Path, what: str) -> Home:
    """Return the bundle at an address, fetched; one in a folder as it is."""
    home = home_at(address, what)
    home.fetch()
    return home


def published_at(address: str | Path, what: str) -> Home:
    """Return what readers need of the bundle at an address: its manifest and the version that this names."""
    home = home_at(address, what)
    if home.files is None:
        return home
    with reached(home.address, what):
        for _ in range(_ATTEMPTS):
            head = home.files.read(MANIFEST)
            if head is None:
                break
            version = _version_in(head)
            names = [one.name for one in home.files.entries(version, all_levels=True) if not one.is_folder]
            _each(home._fetch, [name for name in names if _mirrored(name)])
            write_bytes(home.folder / MANIFEST, head)
            if home.files.read(MANIFEST) == head:  # else another version was published meanwhile
                break
    return home


def _version_in(manifest: bytes) -> str:
    """Return the folder that a manifest names; the whole bundle where it names none, or what is no manifest."""
    try:
        folder = json.loads(manifest)["folder"]
    except (ValueError, KeyError, TypeError):
        return ""
    return folder if isinstance(folder, str) and ".." not in folder else ""


def _temporary() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="remedi-bundle-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _local(folder: Path) -> dict[str, tuple[int, int]]:
    """Return size and time of the files of a folder that are mirrored, by name."""
    found = {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if _mirrored(name) and path.is_file():
            stat = path.stat()
            found[name] = stat.st_size, stat.st_mtime_ns
    return found


def _mirrored(name: str) -> bool:
    """Whether a file is mirrored: neither one of a table nor one that is just being written."""
    return not _TABLES.match(name) and not any(part.startswith(".") for part in name.split("/"))


def _is_manifest(name: str) -> bool:
    return name.rpartition("/")[2] in _NAMING


def _manifests(names: Sequence[str]) -> list[str]:
    """Return the manifests among names, that of the whole bundle last."""
    return sorted(filter(_is_manifest, names), key=lambda name: -name.count("/"))


def _each(work: Callable[[str], None], names: Iterable[str]) -> None:
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for _ in pool.map(work, names):
            pass
