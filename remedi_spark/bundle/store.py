"""Fitted models and JSON files in a bundle folder; no pickle anywhere.

``DIR/base_models/<model>/fold_<k>.<txt|ubj|pt|pair>`` and ``….json`` beside it, ``DIR/encoder.json``, ``DIR/fuser/…``,
``DIR/student/…``. A file is written beside its place and moved there, so that none is ever half-written.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from remedi_spark.errors import InputError
from remedi_spark.learners.contract import Fitted

_SUFFIX = {"lightgbm": "txt", "xgboost": "ubj", "catboost": "cbm", "net": "pt", "hurdle": "pair"}


@dataclass(frozen=True)
class ModelStore:
    """The files of one phase (``holdout`` or ``final``) of a chain."""

    root: Path

    def save_fitted(self, fitted: Fitted, *parts: str) -> None:
        """Store a model and its facts under ``root/parts…``."""
        path = self.root.joinpath(*parts)
        write_bytes(path.with_name(f"{path.name}.{_SUFFIX[fitted.kind]}"), fitted.payload)
        write_json(path.with_name(f"{path.name}.json"), {"kind": fitted.kind, "info": fitted.info})

    def load_fitted(self, *parts: str) -> Fitted:
        """Read a model back."""
        path = self.root.joinpath(*parts)
        facts = read_json(path.with_name(f"{path.name}.json"))
        payload = read_bytes(path.with_name(f"{path.name}.{_SUFFIX[facts['kind']]}"))
        return Fitted(facts["kind"], payload, facts["info"])

    def save(self, name: str, tree: Any) -> None:
        """Store a JSON file."""
        write_json(self.root / f"{name}.json", tree)

    def load(self, name: str) -> Any:
        """Read a JSON file."""
        return read_json(self.root / f"{name}.json")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)  # half a file is nobody's
        raise


def write_json(path: Path, tree: Any) -> None:
    """Write a JSON file, whole or not at all."""
    write_bytes(path, json.dumps(tree, ensure_ascii=False, indent=1, allow_nan=True).encode())


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
    try:
        return json.loads(read_bytes(path))
    except json.JSONDecodeError as error:
        raise InputError(f"model {path}: not valid JSON ({error}); the bundle is damaged, train again") from error


def checksums(folder: Path, patterns: Iterable[str]) -> dict[str, str]:
    """Return SHA-256 by relative path of the files that match any of the glob patterns."""
    files = sorted({path for pattern in patterns for path in folder.glob(pattern) if path.is_file()})
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
