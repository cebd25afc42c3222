"""Spark's Python daemon with the heavy libraries imported once, before it forks its workers.

Set by ``spark.python.daemon.module``. A worker that Spark forks then starts in milliseconds instead of importing torch
(about 2.5 s), what its optimisers import when the first one is made (``torch._dynamo``, another 1.5 s) and the boosters
again. Importing starts no thread pool, so forking afterwards is safe.
"""

from __future__ import annotations

import contextlib
import importlib

LIBRARIES = (
    "numpy", "pandas", "pyarrow", "torch", "torch._dynamo", "tabm", "lightgbm", "xgboost", "xgboost.spark", "catboost",
    "synapse.ml",
)  # fmt: skip


def preload() -> None:
    """Import what the Python tasks use; whatever is missing is left to the task that needs it."""
    for name in LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


if __name__ == "__main__":
    preload()
    from pyspark.daemon import manager

    manager()  # type: ignore[no-untyped-call]
