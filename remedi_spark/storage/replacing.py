"""Put a folder that was written beside another in its place, so that a kill at any moment loses neither."""

from __future__ import annotations

import re
import shutil
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from remedi_spark.spark import files
from remedi_spark.spark.errors import SPARK_ERRORS

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_NEW, _OLD = "new", "old"
_LEFT_SECONDS = 24 * 3600
_ATTEMPTS = 10


def beside(path: Path) -> Path:
    """Return a hidden name next to a folder, of this writer's own."""
    return path.with_name(f".{path.name}.{_NEW}.{uuid.uuid4().hex}")


def recover(path: Path) -> None:
    """Bring back a folder that a killed run had moved aside and not replaced yet."""
    if path.exists():
        return
    aside = sorted(_aside(path, _OLD), key=lambda one: one.stat().st_mtime)
    if aside:
        with suppress(OSError):  # another run was faster
            aside[-1].rename(path)


def replace_folder(new: Path, path: Path) -> None:
    """Move a whole new folder to where the old one is; of two writers at once, the last one stands."""
    old = path.with_name(f".{path.name}.{_OLD}.{uuid.uuid4().hex}")
    for attempt in range(_ATTEMPTS):
        with suppress(FileNotFoundError):
            path.rename(old)
        try:
            new.rename(path)
            break
        except OSError:  # another writer has put its own there in between
            if attempt == _ATTEMPTS - 1:
                raise
            shutil.rmtree(old, ignore_errors=True)
    _tidy(path)


def _tidy(path: Path) -> None:
    """Remove what was replaced, and what runs that were killed long ago had begun."""
    for one in _aside(path, _OLD):
        shutil.rmtree(one, ignore_errors=True)
    for one in _aside(path, _NEW):
        with suppress(FileNotFoundError):
            if time.time() - one.stat().st_mtime > _LEFT_SECONDS:
                shutil.rmtree(one, ignore_errors=True)


def _aside(path: Path, kind: str) -> list[Path]:
    if not path.parent.is_dir():
        return []
    name = re.compile(rf"\.{re.escape(path.name)}\.{kind}\.[0-9a-f]{{32}}")
    return [one for one in path.parent.iterdir() if name.fullmatch(one.name)]


def replace_remote(spark: SparkSession, new: str, path: str) -> None:
    """Do the same on a file system that Spark reaches: the old folder goes only when the new one is whole."""
    old = f"{new}.{_OLD}"
    moved = files.exists(spark, path) and files.rename(spark, path, old)
    try:
        done = files.rename(spark, new, path)
    except SPARK_ERRORS:
        done = False
    if not done:
        if moved:
            files.rename(spark, old, path)
        raise OSError(f"output {path}: could not be moved there from {new}; the former result is as it was")
    if moved:
        files.delete(spark, old)
