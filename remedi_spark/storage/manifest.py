"""``manifest.json``: which files a score depends on, with their checksums, and in which folder they are.

A published bundle's manifest names ``versions/<model_version>`` (:mod:`remedi_spark.storage.publish`). One without
``folder``, as a training writes it in its working folder and as older versions of this package did everywhere, stands
for the folder that it is in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from remedi_spark.errors import InputError
from remedi_spark.storage.fitted import Fitted
from remedi_spark.storage.store import digest, parse_json, read_bytes, suffix, write_json

MANIFEST = "manifest.json"
SCORED_WITH = ("contract.json", "encoder.json", "calibration.json")
"""What a score depends on, beside the students; everything else is for people and for retraining."""
MONITORED_WITH = ("distribution.json", "score_distribution.json")
"""What scored rows are compared with; sealed too, but no part of the model's version."""
EXPLAINED_WITH = ("dictionary.json",)
"""How reasons say the features; sealed likewise."""
ESTIMATED_WITH = ("holdout_scores.json",)
"""How probabilities turned out on the test rows of the training; sealed likewise."""
_EXPECTED = "expected the manifest of a bundle written by remedi train or remedi run"
_FIELDS: dict[str, type] = {"model_version": str, "students": list, "folds": int, "files": dict}
_CHANGED = "changed since training (checksum differs); restore it or train again"

T = TypeVar("T")


@dataclass(frozen=True)
class Manifest:
    """What was read of a manifest, checked.

    Attributes:
        folder: where the files are.
        model_version: hash of all that a score depends on.
        students: names of the student's parts.
        folds: fitted models of each.
        files: SHA-256 by path below ``folder``.
    """

    folder: Path
    model_version: str
    students: tuple[str, ...]
    folds: int
    files: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as they are stored, without the folder."""
        return {
            "model_version": self.model_version, "students": list(self.students), "folds": self.folds,
            "files": dict(self.files),
        }  # fmt: skip


@dataclass(frozen=True)
class Sealed:
    """The sealed files of a bundle in memory, each with the checksum that its manifest has."""

    manifest: Manifest
    contents: Mapping[str, bytes]

    def json(self, name: str) -> Any:
        """Parse a JSON file."""
        return parse_json(self.contents[name], self.manifest.folder / name)

    def fitted(self, student: str, fold: int) -> Fitted:
        """Return one model of the student.

        Raises:
            InputError: its facts are no model's, or the manifest does not cover what they refer to.
        """
        name = f"student/{student}/fold_{fold}"
        facts = self.json(f"{name}.json")
        kind = facts.get("kind") if isinstance(facts, dict) else None
        payload = f"{name}.{suffix(str(kind))}"
        if payload not in self.contents:
            raise InputError(f"model {self.manifest.folder / MANIFEST}: has no checksum of {payload}; {_EXPECTED}")
        return Fitted(str(kind), self.contents[payload], facts["info"])


def read_manifest(root: Path) -> Manifest:
    """Read the manifest of a bundle.

    Raises:
        InputError: there is none, it is not ours, does not cover all that is loaded, or names a file elsewhere.
    """
    path = root / MANIFEST
    tree = parse_json(read_bytes(path), path)
    if not isinstance(tree, dict) or any(not isinstance(tree.get(name), kind) for name, kind in _FIELDS.items()):
        raise InputError(f"model {path}: not a model's manifest; {_EXPECTED}")
    folder, files, students = str(tree.get("folder", ".")), tree["files"], tuple(map(str, tree["students"]))
    outside = next((name for name in (folder, *files) if not _stays_inside(name)), None)
    if outside is None and not (root / folder).resolve().is_relative_to(root.resolve()):
        outside = folder
    if outside is not None:
        raise InputError(f"model {path}: names {outside!r}, which is not inside the bundle; {_EXPECTED}")
    loaded = [f"student/{name}/fold_{k}.json" for name in students for k in range(tree["folds"])]
    for name in (*SCORED_WITH, *loaded):
        if name not in files:
            raise InputError(f"model {path}: has no checksum of {name}; {_EXPECTED}")
    if model_version(files) != tree["model_version"]:
        raise InputError(f"model {path}: its checksums are not those of version {tree['model_version']}; {_EXPECTED}")
    return Manifest(root / folder, tree["model_version"], students, tree["folds"], files)


def read_sealed(root: Path, parse: Callable[[Sealed], T]) -> T:
    """Read and check all files that a bundle's manifest lists, and parse them.

    When another version was published meanwhile, that one is read.
    """
    manifest = read_manifest(root)
    try:
        return parse(_read(manifest))
    except InputError:
        newer = read_manifest(root)
        if newer == manifest:
            raise
        return parse(_read(newer))


def _read(manifest: Manifest) -> Sealed:
    contents = {name: read_bytes(manifest.folder / name) for name in manifest.files}
    for name, expected in manifest.files.items():
        if digest(contents[name]) != expected:
            raise InputError(f"model {manifest.folder / name}: {_CHANGED}")
    return Sealed(manifest, contents)


def _stays_inside(name: str) -> bool:
    pure = PurePosixPath(name)
    return bool(name) and not pure.is_absolute() and ".." not in pure.parts and not {"\\", "\0"} & set(name)


def write_manifest(root: Path, *, students: list[str], folds: int) -> str:
    """Seal a working folder: list exactly the files that are loaded, with their checksums; return the model version."""
    beside = [name for name in (*MONITORED_WITH, *EXPLAINED_WITH, *ESTIMATED_WITH) if (root / name).exists()]
    names = [*SCORED_WITH, *beside]
    for student in students:
        for fold in range(folds):
            name = f"student/{student}/fold_{fold}"
            kind = parse_json(read_bytes(root / f"{name}.json"), root / f"{name}.json")["kind"]
            names += [f"{name}.json", f"{name}.{suffix(kind)}"]
    files = {name: digest(read_bytes(root / name)) for name in sorted(names)}
    version = model_version(files)
    write_json(root / MANIFEST, Manifest(root, version, tuple(students), folds, files).to_dict())
    return version


def model_version(files: Mapping[str, str]) -> str:
    """Return the hash of what scores depend on."""
    beside = (*MONITORED_WITH, *EXPLAINED_WITH, *ESTIMATED_WITH)
    scored = sorted((name, checksum) for name, checksum in files.items() if name not in beside)
    return digest("".join(f"{name}{checksum}" for name, checksum in scored).encode())[:12]
