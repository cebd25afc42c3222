"""The file of a lease: in a folder of this machine, or on another file system."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from remedi_spark.storage.file_systems import Files
from remedi_spark.storage.store import FILE_MODE, make_folder, write_json

LEASE = ".remedi-lease.json"
Facts = dict[str, Any]


class LeaseFile(Protocol):
    """What a lease does with its file."""

    @property
    def settle_seconds(self) -> float:
        """How long it takes until everyone who saw no lease, or a void one, has written, about."""

    @property
    def name(self) -> str:
        """The folder, for messages."""

    def make_folder(self) -> tuple[Path, ...]:
        """Make the folder; return those that were not there."""

    def create(self, facts: Facts) -> bool:
        """Write the file if there is none; whether there was none."""

    def replace(self, facts: Facts) -> None:
        """Put a file in the place of another's."""

    def renew(self, facts: Facts) -> bool:
        """Write the file again unless it is another's by now; whether it is still this one's."""

    def read(self) -> Facts | None:
        """Return what it says; of one that is just being written, that it is alive; None where there is none."""

    def remove(self) -> None:
        """Remove it."""


@dataclass(frozen=True)
class LocalLease:
    """In a folder of this machine: the operating system lets one alone create it."""

    folder: Path
    settle_seconds: float = 0.3

    @property
    def name(self) -> str:
        """The folder, for messages."""
        return str(self.folder)

    @property
    def path(self) -> Path:
        """The file."""
        return self.folder / LEASE

    def make_folder(self) -> tuple[Path, ...]:
        """Make the folder; return those that were not there."""
        made = tuple(one for one in (self.folder, *self.folder.parents) if not one.exists())
        make_folder(self.folder)
        return made

    def create(self, facts: Facts) -> bool:
        """Write the file if there is none."""
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
        except FileExistsError:
            return False
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(facts, file)
            file.flush()
            os.fsync(file.fileno())
        return True

    def replace(self, facts: Facts) -> None:
        """Put a file in the place of another's."""
        write_json(self.path, facts)

    def renew(self, facts: Facts) -> bool:
        """Write into the file that was read: whoever takes over puts another in its place, which stays as it is."""
        with self.path.open("r+", encoding="utf-8") as file:
            if json.load(file).get("token") != facts["token"]:
                return False
            file.seek(0)
            json.dump(facts, file)
            file.truncate()
        return True

    def read(self) -> Facts | None:
        """Return what the file says."""
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            with suppress(OSError):
                return {"beat": self.path.stat().st_mtime}
            return None
        return found if isinstance(found, dict) else {}

    def remove(self) -> None:
        """Remove the file."""
        self.path.unlink()


@dataclass(frozen=True)
class RemoteLease:
    """On another file system, few of which let one alone create a file: whoever wrote last has it, after a pause.

    Of two that begin within the same second, the second to write goes on and the other is refused. One that was
    halted for longer between looking and writing takes the lease from the other, which notices before it publishes.
    """

    files: Files
    settle_seconds: float = 1.0

    @property
    def name(self) -> str:
        """The address, for messages."""
        return self.files.address

    def make_folder(self) -> tuple[Path, ...]:
        """Make the folder, where the file system has such a thing."""
        self.files.make()
        return ()

    def create(self, facts: Facts) -> bool:
        """Write the file if there is none, and look whether it stays."""
        if self.read() is not None:
            return False
        self.replace(facts)
        time.sleep(self.settle_seconds)
        found = self.read()
        return found is not None and found.get("token") == facts["token"]

    def replace(self, facts: Facts) -> None:
        """Put a file in the place of another's."""
        self.files.write(LEASE, json.dumps(facts).encode())

    def renew(self, facts: Facts) -> bool:
        """Write the file again unless it is another's by now."""
        found = self.read()
        if found is None or found.get("token") != facts["token"]:
            return False
        self.replace(facts)
        return True

    def read(self) -> Facts | None:
        """Return what the file says."""
        content = self.files.read(LEASE)
        if content is None:
            return None
        try:
            found = json.loads(content)
        except ValueError:  # being written
            return {"beat": time.time()}
        return found if isinstance(found, dict) else {}

    def remove(self) -> None:
        """Remove the file."""
        self.files.remove(LEASE)
