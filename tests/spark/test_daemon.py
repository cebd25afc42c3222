"""What Spark's Python workers would do before and after each task for nothing."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import zipfile
import zipimport
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from remedi_spark.spark.daemon import WHAT_FOR, read_archives_once

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def _pack(archive: Path, modules: dict[str, str], moment: int) -> None:
    with zipfile.ZipFile(archive, "w") as packed:
        for name, code in modules.items():
            packed.writestr(f"{name}.py", code)
    os.utime(archive, (moment, moment))


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An archive on the path of a Python that works as a worker does."""
    path = tmp_path / "packed.zip"
    _pack(path, {"packed_one": "value = 1"}, 1_000)
    monkeypatch.setattr(zipimport.zipimporter, "invalidate_caches", zipimport.zipimporter.invalidate_caches)
    monkeypatch.syspath_prepend(str(path))
    read_archives_once()
    yield path
    for name in ("packed_one", "packed_two"):
        sys.modules.pop(name, None)


def test_an_archive_is_read_once_and_again_when_it_has_changed(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert importlib.import_module("packed_one").value == 1
    importlib.invalidate_caches()
    read: list[str] = []
    directory = zipimport._read_directory  # type: ignore[attr-defined]
    monkeypatch.setattr(zipimport, "_read_directory", lambda path: read.append(path) or directory(path))
    importlib.invalidate_caches()
    assert str(archive) not in read
    _pack(archive, {"packed_one": "value = 1", "packed_two": "value = 2"}, 2_000)
    importlib.invalidate_caches()
    assert str(archive) in read
    assert importlib.import_module("packed_two").value == 2


def test_an_archive_that_is_gone_is_forgotten(archive: Path) -> None:
    importlib.invalidate_caches()
    archive.unlink()
    importlib.invalidate_caches()
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("packed_one")


def test_a_worker_reads_no_archive_and_collects_no_library(spark: SparkSession) -> None:
    def look(_: int) -> tuple[str, int, int]:
        import gc
        import zipimport

        how = zipimport.zipimporter.invalidate_caches.__module__
        return how, gc.get_freeze_count(), len(gc.get_objects())

    for how, frozen, collected in spark.sparkContext.parallelize(range(2), 2).map(look).collect():
        assert how == "__main__"
        assert frozen > collected, "most objects are of libraries"


@pytest.mark.parametrize(("what_for", "torch"), [("score", False), ("", True)])
def test_torch_is_imported_where_models_are_fitted(what_for: str, torch: bool) -> None:
    code = "import sys; from remedi_spark.spark.daemon import preload; preload(); sys.exit('torch' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], env={**os.environ, WHAT_FOR: what_for}, check=False)
    assert ended.returncode == torch
