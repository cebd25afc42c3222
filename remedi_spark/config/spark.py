"""How the local session is built and how many slots a fit may use."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from remedi_spark.config.section import Section


class SparkConfig(Section):
    """Spark session settings; under spark-submit and on Databricks the launcher's own settings win."""

    master: str | None = None
    """Master of a local session, for example ``local[2]``; null: all cores."""
    driver_memory: str = "6g"
    """Heap of the local session's JVM."""
    compiler: Literal["quick", "full"] = "quick"
    """How the local session's JVM compiles: ``quick`` for small data, ``full`` from some millions of events on."""
    shuffle_partitions: int = Field(default=8, ge=1)
    """Partitions of a shuffle in the local session."""
    packages: tuple[str, ...] = ()
    """Further Maven packages of the local session, as ``group:artifact:version``."""
    shortcuts: bool = True
    """Whether the local session's Python workers come from a daemon of our own, which has imported the libraries, reads
    archives on the path once and keeps the libraries out of garbage collection: of a training of 1,000 owners each of
    the three takes 7 to 17 s of the workers' CPU time away (docs/measurements/2026-11-29-shortcuts.md). Sessions that
    others have started and those of spark-submit are left as they are."""
    log_level: str = Field(default="ERROR", pattern="^(DEBUG|INFO|WARN|ERROR|OFF)$")
    """Spark's log level."""
    unit_seconds: float | None = Field(default=14_400, gt=0)
    """How long one fit may take before its Spark jobs are cancelled; null: for ever."""
    settings: dict[str, str] = Field(default_factory=dict)
    """Any further Spark setting, by its own name."""
