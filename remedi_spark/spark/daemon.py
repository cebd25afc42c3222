"""Spark's Python daemon with the heavy libraries imported once, before it forks its workers.

Set by ``spark.python.daemon.module``. A worker that Spark forks then starts in milliseconds instead of importing torch
(about 2.5 s) and the boosters again. Importing starts no thread pool, so forking afterwards is safe.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
from pathlib import Path
from weakref import WeakKeyDictionary
from zipimport import zipimporter

WHAT_FOR = "REMEDI_WORKERS"
"""Variable of the workers' environment: ``score`` where no task fits models; else all libraries are imported."""
SCORING = ("numpy", "pandas", "pyarrow", "scipy.sparse", "catboost")
LIBRARIES = (
    "numpy", "pandas", "pyarrow", "torch", "tabm", "lightgbm", "xgboost", "xgboost.spark", "catboost",
    "synapse.ml",
)  # fmt: skip


def preload() -> None:
    """Import what the Python tasks use; whatever is missing is left to the task that needs it."""
    for name in SCORING if os.environ.get(WHAT_FOR) == "score" else LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def read_archives_once() -> None:
    """Have Python read the directory of an archive again only when the file has changed.

    A worker calls ``importlib.invalidate_caches`` before each task, and Python then reads the directories of all
    archives on its path, Spark's and the application's jars among them: a tenth of a second that every task waits.
    """
    read = zipimporter.invalidate_caches
    known: WeakKeyDictionary[zipimporter, tuple[int, int] | None] = WeakKeyDictionary()

    def read_if_changed(importer: zipimporter) -> None:
        stamp = _stamp(importer.archive)
        if stamp is None or known.get(importer) != stamp:
            read(importer)
            known[importer] = stamp

    zipimporter.invalidate_caches = read_if_changed  # type: ignore[method-assign,assignment]


def _stamp(archive: str) -> tuple[int, int] | None:
    """Return what tells a file's present content from any other; None where there is no file."""
    try:
        found = Path(archive).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


if __name__ == "__main__":
    preload()
    read_archives_once()
    importlib.invalidate_caches()  # those that are known by now, once for all workers
    # A worker collects garbage after each task: another tenth of a second, if it has to look at all the libraries.
    gc.freeze()
    from pyspark.daemon import manager

    manager()  # type: ignore[no-untyped-call]
