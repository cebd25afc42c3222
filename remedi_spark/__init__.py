"""Rare-event prediction over owners on Spark: stacked ensembles, distilled to one student."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from remedi_spark.version import __version__

if TYPE_CHECKING:
    from remedi_spark.bundle.bundle import load as load

__all__ = ["__version__", "load"]


def __getattr__(name: str) -> Any:
    """Import :func:`remedi_spark.bundle.bundle.load` only when asked for: it needs torch and the boosters."""
    if name == "load":
        from remedi_spark.bundle.bundle import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
