"""Fitted models and JSON files in a bundle folder; no pickle anywhere.

``DIR/base_models/<model>/fold_<k>.<txt|ubj|pt|pair>`` and ``….json`` beside it, ``DIR/encoder.json``, ``DIR/fuser/…``,
``DIR/student/…``. A file is written beside its place and moved there, so that none is ever half-written. Files and
folders that are made here are their owner's alone, whatever the umask: encoder and distribution hold customers' data.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import uuid
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from remedi_spark.errors import InputError
from remedi_spark.storage.fitted import Fitted
from remedi_spark.storage.scope import Scope

SUFFIX = {"lightgbm": "txt", "xgboost": "ubj", "catboost": "cbm", "net": "pt", "hurdle": "pair"}
"""Ending of a model's own file, by kind; any other kind's is ``bin``."""
FOLDER_MODE, FILE_MODE = 0o700, 0o600
_NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS)
"""What a file system answers that knows no such thing as its cache."""


def suffix(kind: str) -> str:
    """Return the ending of a fitted model's own file."""
    return SUFFIX.get(kind, "bin")


@dataclass(frozen=True)
class ModelStore:
    """The files of one phase (``holdout`` or ``final``) of a chain."""

    root: Path
    scope: Scope | None = None
    """What the running stage may touch; None: anything."""

    def save_fitted(self, fitted: Fitted, *parts: str) -> None:
        """Store a model and its facts under ``root/parts…``."""
        self._require_write("/".join(parts))
        path = self.root.joinpath(*parts)
        write_bytes(path.with_name(f"{path.name}.{suffix(fitted.kind)}"), fitted.payload)
        write_json(path.with_name(f"{path.name}.json"), {"kind": fitted.kind, "info": fitted.info})

    def load_fitted(self, *parts: str) -> Fitted:
        """Read a model back."""
        self._require_read("/".join(parts))
        path = self.root.joinpath(*parts)
        facts = read_json(path.with_name(f"{path.name}.json"))
        payload = read_bytes(path.with_name(f"{path.name}.{suffix(facts['kind'])}"))
        return Fitted(facts["kind"], payload, facts["info"])

    def save(self, name: str, tree: Any) -> None:
        """Store a JSON file."""
        self._require_write(name)
        write_json(self.root / f"{name}.json", tree)

    def load(self, name: str) -> Any:
        """Read a JSON file."""
        self._require_read(name)
        return read_json(self.root / f"{name}.json")

    def has(self, name: str) -> bool:
        """Tell whether there is such a JSON file."""
        self._require_read(name)
        return (self.root / f"{name}.json").exists()

    def _require_read(self, name: str) -> None:
        if self.scope is not None:
            self.scope.require_read(f"{name}.json")

    def _require_write(self, name: str) -> None:
        if self.scope is not None:
            self.scope.require_write(f"{name}.json")


def make_folder(path: Path) -> None:
    """Make a folder and those above it that are missing, for their owner alone."""
    missing = [one for one in (path, *path.parents) if not one.exists()]
    for one in reversed(missing):
        with suppress(FileExistsError):  # another thread was faster
            one.mkdir(mode=FOLDER_MODE)
            set_mode(one, FOLDER_MODE)  # a umask of 0777 would take even that


def set_mode(path: Path, mode: int) -> None:
    """Set permissions where the file system has them; mounts of object stores have none."""
    with suppress(OSError):
        path.chmod(mode)


def write_bytes(path: Path, content: bytes, *, private: bool = True) -> None:
    """Write a whole file or nothing; it is on the disk when this returns.

    What is handed over to others is not ``private``: it gets the permissions that the umask leaves.
    """
    make_folder(path.parent) if private else path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with os.fdopen(
            os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE if private else 0o666), "wb"
        ) as file:
            file.write(content)
            file.flush()
            _sync(file.fileno())
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)  # half a file is nobody's
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder reach the disk, where the file system knows of such a thing."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            _sync(descriptor)
        finally:
            os.close(descriptor)


def _sync(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:  # a full or broken disk may tell only now
            raise


def write_json(path: Path, tree: Any) -> None:
    """Write a JSON file, whole or not at all."""
    write_bytes(path, as_json(tree))


def as_json(tree: Any) -> bytes:
    """Return a JSON file as it is written."""
    return json.dumps(tree, ensure_ascii=False, indent=1, allow_nan=True).encode()


def read_bytes(path: Path) -> bytes:
    """Read a file of a bundle."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            f"model {path}: {error.strerror or error}; expected a bundle written by remedi train or remedi run"
        ) from error


def read_json(path: Path) -> Any:
    """Read a JSON file of a bundle."""
    return parse_json(read_bytes(path), path)


def parse_json(content: bytes, path: Path) -> Any:
    """Parse what was read from a JSON file of a bundle."""
    try:
        return json.loads(content)
    except ValueError as error:
        raise InputError(f"model {path}: not valid JSON ({error}); the bundle is damaged, train again") from error


def checksums(folder: Path, patterns: Iterable[str]) -> dict[str, str]:
    """Return SHA-256 by relative path of the files that match any of the glob patterns.

    Hidden files are left out: they are what a killed run had begun to write.
    """
    found = {path for pattern in patterns for path in folder.glob(pattern) if path.is_file()}
    files = sorted(path for path in found if not path.name.startswith("."))
    return {str(path.relative_to(folder)): digest(path.read_bytes()) for path in files}


def digest(content: bytes) -> str:
    """Return the SHA-256 of the content of a file."""
    return hashlib.sha256(content).hexdigest()
