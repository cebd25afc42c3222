"""How the local session is built and how many slots a fit may use."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from remedi_spark.config.section import Section

BYTES_A_NUMBER = 64
"""Of a fit in Python: 55 to 66 with the boosters, 91 with a net, libraries included (``benchmarks/fit_memory.py``)."""


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
    task_memory: str = Field(default="6g", pattern=r"^[1-9]\d*[mg]$")
    """What one task of a fit may take, in Python and beside the JVM: how many rows base models and student learn from,
    and over how many tasks a larger fit goes, follow from it (docs/measurements/2026-11-30-scale.md)."""
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

    @property
    def task_numbers(self) -> int:
        """Numbers (rows x inputs) that a fit in one task may take."""
        size, unit = int(self.task_memory[:-1]), self.task_memory[-1]
        return size * (2**30 if unit == "g" else 2**20) // BYTES_A_NUMBER
