"""What a result depends on besides settings and tables: this package's code, libraries, the session's clock."""

from __future__ import annotations

import hashlib
import importlib.metadata
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from remedi_spark.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.abc import Traversable

    from pyspark.sql import SparkSession

FITTING = ("lightgbm", "xgboost", "catboost", "torch", "tabm", "synapseml", "numpy")
"""Packages whose versions may change what is fitted."""
_SESSION = ("spark.sql.session.timeZone", "spark.sql.ansi.enabled", "spark.sql.legacy.timeParserPolicy")
_CODE = (".py", ".yaml")


@cache
def code_hash() -> str:
    """Return a hash of this package's version and of all its code and defaults; read once a process."""
    content = hashlib.sha256(__version__.encode())
    for path, file in sorted(_files(resources.files("remedi_spark"), "")):
        content.update(path.encode() + b"\0" + file)
    return content.hexdigest()[:16]


def _files(folder: Traversable, path: str) -> Iterator[tuple[str, bytes]]:
    for one in folder.iterdir():
        if one.is_dir() and one.name != "__pycache__":
            yield from _files(one, f"{path}{one.name}/")
        elif one.name.endswith(_CODE):
            yield path + one.name, one.read_bytes()


@cache
def libraries() -> dict[str, str | None]:
    """Return the versions of the packages that fit; None where one is the platform's, or missing."""
    return {name: _version(name) for name in FITTING}


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def environment(spark: SparkSession) -> dict[str, Any]:
    """Return all of it, as JSON, for the key under which a result is kept."""
    session = {name: spark.conf.get(name, None) for name in _SESSION}
    return {"code": code_hash(), "libraries": libraries(), "spark": spark.version, "session": session}
