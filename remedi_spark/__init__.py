"""Rare-event prediction over owners on Spark: stacked ensembles, distilled to one student."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from remedi_spark.version import __version__

if TYPE_CHECKING:
    from remedi_spark.api import Model as Model
    from remedi_spark.api import guide as guide
    from remedi_spark.api import train as train
    from remedi_spark.api import verify as verify
    from remedi_spark.scoring.bundle import load as load

__all__ = ["Model", "__version__", "guide", "load", "train", "verify"]


def __getattr__(name: str) -> Any:
    """Import only what is asked for: ``load`` needs torch and the boosters, the others Spark as well."""
    if name == "load":
        from remedi_spark.scoring.bundle import load

        return load
    if name in ("Model", "guide", "train", "verify"):
        from remedi_spark import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
