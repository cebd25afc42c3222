"""Progress on stderr, one line an event; results go to stdout."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

LOGGER = logging.getLogger("remedi")


class _Elapsed(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(message)s")
        self._start = time.monotonic()

    def format(self, record: logging.LogRecord) -> str:
        mark = "" if record.levelno < logging.WARNING else f"{record.levelname.lower()}: "
        return f"[{time.monotonic() - self._start:7.1f}s] {mark}{super().format(record)}"


def log_to_stderr(level: int = logging.INFO) -> None:
    """Show the product's progress on stderr; call once, from a command."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Elapsed())
    LOGGER.handlers[:] = [handler]
    LOGGER.setLevel(level)
    LOGGER.propagate = False


def say(stage: str, message: str) -> None:
    """Report an event of a stage."""
    LOGGER.info("%-13s %s", stage, message)


def warn(stage: str, message: str) -> None:
    """Report something the user should look at; the run goes on."""
    LOGGER.warning("%-13s %s", stage, message)


@contextmanager
def timed(stage: str, durations: dict[str, float]) -> Iterator[None]:
    """Announce a stage, and store the seconds it took under its name."""
    say(stage, "started")
    start = time.monotonic()
    yield
    durations[stage] = round(time.monotonic() - start, 1)
    say(stage, f"done in {durations[stage]:.1f} s")
