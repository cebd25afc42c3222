"""A bundle is published whole: readers see the former version or the new one, never a mixture.

``DIR/work/`` is where a training writes, a bundle in its own right once it is sealed. Publishing copies what scoring
and reporting need to ``DIR/versions/<model_version>/`` and then replaces ``DIR/manifest.json``, which names that
folder, in one rename. The two last versions are kept. ``contract.json``, ``encoder.json``, the metrics and the report
also lie at the top, for people and for what reads them there.
"""

from __future__ import annotations

import json
import re
import shutil
import uuid
from pathlib import Path
from typing import Literal

from remedi_spark.errors import InputError
from remedi_spark.storage.manifest import MANIFEST, Sealed, read_manifest, read_sealed
from remedi_spark.storage.store import (
    FILE_MODE,
    FOLDER_MODE,
    digest,
    make_folder,
    set_mode,
    sync_folder,
    write_bytes,
    write_json,
)

WORK, VERSIONS = "work", "versions"
REPORTS = ("metrics.json", "report.json", "report.html")
"""Beside a version's model: what was measured of it."""
SHOWN = ("contract.json", "encoder.json", *REPORTS)
"""Copied to the top of the bundle."""
KEPT = 2
Access = Literal["owner", "group", "everyone"]
_READERS = {"owner": 0, "group": 0o050, "everyone": 0o055}
_VERSION = re.compile(r"[0-9a-f]{12}(-[0-9a-f]{8})?")


def publish(work: Path, home: Path, access: Access = "owner") -> str:
    """Make the sealed working folder the version that is scored with; return its model version.

    Args:
        work: folder that :func:`remedi_spark.storage.manifest.write_manifest` has sealed.
        home: folder of the bundle.
        access: who may read what is published.

    Raises:
        InputError: the working folder is not whole.
    """
    sealed = read_sealed(work, lambda found: found)
    former = published_folder(home)
    folder = _version_folder(sealed, home)
    if not folder.exists():
        _copy(sealed, folder)
    for name in REPORTS if _is_report_of(work, sealed.manifest.model_version) else ():
        if (work / name).exists():
            _write(folder / name, (work / name).read_bytes())
    _share(folder, access)
    manifest = {**sealed.manifest.to_dict(), "folder": str(folder.relative_to(home))}
    if not (home / MANIFEST).exists() or json.loads((home / MANIFEST).read_bytes()) != manifest:
        write_json(home / MANIFEST, manifest)
    for name in SHOWN:
        if (folder / name).exists():
            _write(home / name, (folder / name).read_bytes())
    _share_top(home, access)
    _tidy(home, folder, former)
    return sealed.manifest.model_version


def published_folder(home: Path) -> Path:
    """Return the folder of the published version; of a bundle of the former layout, and where none is, the bundle's."""
    try:
        return read_manifest(home).folder
    except InputError:
        return home


def _is_report_of(work: Path, version: str) -> bool:
    """Whether the report in the working folder is of this version, and not still of the training before."""
    try:
        found = json.loads((work / "report.json").read_bytes())["head"]["model_version"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return bool(found == version)


def _version_folder(sealed: Sealed, home: Path) -> Path:
    """Return where the version goes: by its name, and apart from one of that name with other files beside the model."""
    files, plain = dict(sealed.manifest.files), home / VERSIONS / sealed.manifest.model_version
    if not plain.exists() or _holds(plain, files):
        return plain
    every = digest(json.dumps(files, sort_keys=True).encode())[:8]
    other = plain.with_name(f"{plain.name}-{every}")
    if other.exists() and not _holds(other, files):
        shutil.rmtree(other)  # damaged, and what is in it is written anew
    return other


def _holds(folder: Path, files: dict[str, str]) -> bool:
    return all((folder / name).is_file() and digest((folder / name).read_bytes()) == files[name] for name in files)


def _copy(sealed: Sealed, folder: Path) -> None:
    beside = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    try:
        for name, content in sealed.contents.items():
            write_bytes(beside / name, content)
        write_json(beside / MANIFEST, sealed.manifest.to_dict())
        beside.rename(folder)
    except OSError:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    sync_folder(folder.parent)


def _write(path: Path, content: bytes) -> None:
    if not path.exists() or path.read_bytes() != content:
        write_bytes(path, content)


def _share(folder: Path, access: Access) -> None:
    """Let readers in, below a folder of our own making."""
    readers = _READERS[access]
    for path in (folder, *folder.rglob("*")):
        set_mode(path, FOLDER_MODE | readers if path.is_dir() else FILE_MODE | readers & 0o044)


def _share_top(home: Path, access: Access) -> None:
    readers = _READERS[access]
    for name in (MANIFEST, *SHOWN):
        if (home / name).exists():
            set_mode(home / name, FILE_MODE | readers & 0o044)
    for folder in (home, home / VERSIONS):
        set_mode(folder, folder.stat().st_mode & 0o777 | readers)


def _tidy(home: Path, folder: Path, former: Path) -> None:
    """Keep the last versions; remove older ones, and what a killed run had begun to copy."""
    make_folder(home / VERSIONS)
    found = [path for path in (home / VERSIONS).iterdir() if path.is_dir() and path != folder]
    for path in found:
        if path.name.startswith(".") and _VERSION.match(path.name[1:]):
            shutil.rmtree(path, ignore_errors=True)
    older = [path for path in found if _VERSION.fullmatch(path.name)]
    older.sort(key=lambda path: (path == former, path.stat().st_mtime), reverse=True)
    for path in older[KEPT - 1 :]:
        shutil.rmtree(path, ignore_errors=True)
