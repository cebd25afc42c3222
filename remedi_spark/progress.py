"""Progress on stderr, one line an event, as text or as JSON; results go to stdout.

On a terminal, events that only pass (one fit of many) share a line that changes (:mod:`remedi_spark.terminal`).
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
import traceback
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from remedi_spark import spans
from remedi_spark.errors import cause, doing, failure_facts
from remedi_spark.redaction import redact, redact_event
from remedi_spark.terminal import Terminal

LOGGER = logging.getLogger("remedi")
RUN_ID_VARIABLE = "REMEDI_RUN_ID"
LOG_FORMAT_VARIABLE = "REMEDI_LOG_FORMAT"

_run: list[str] = []
_at_end: list[str] = []


def begin_run() -> str:
    """Give what this process does from here on an identifier of its own: that of the environment, else a new one.

    A scheduler that starts one process a stage sets ``REMEDI_RUN_ID`` to join their logs and tables.
    """
    given = os.environ.get(RUN_ID_VARIABLE)
    _run[:] = [given or f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"]
    _at_end.clear()
    spans.begin(_run[0])
    return _run[0]


def run_id() -> str:
    """Return the identifier of the present run; it stands in logs, ledger, scores and monitoring."""
    return _run[0] if _run else begin_run()


class _Elapsed(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(message)s")
        self._start = time.monotonic()

    def format(self, record: logging.LogRecord) -> str:
        mark = "" if record.levelno < logging.WARNING else f"{record.levelname.lower()}: "
        stage = f"{record.stage:<13} " if hasattr(record, "stage") else ""
        return redact(f"[{time.monotonic() - self._start:7.1f}s] {mark}{stage}{super().format(record)}")


class _Json(logging.Formatter):
    """One JSON object a line: time (UTC), level, run_id, stage, message, and whatever else an event carries."""

    def format(self, record: logging.LogRecord) -> str:
        event = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "run_id": run_id(),
            "stage": getattr(record, "stage", None),
            "message": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        return json.dumps(redact_event(event), ensure_ascii=False, default=str)


def log_to_stderr(level: int = logging.INFO, style: str | None = None) -> None:
    """Show the product's progress on stderr, as ``text`` or ``json`` (None: as ``REMEDI_LOG_FORMAT`` says)."""
    style = style or os.environ.get(LOG_FORMAT_VARIABLE, "text")
    watched = style == "text" and sys.stderr.isatty()
    handler = Terminal() if watched else logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if style == "json" else _Elapsed())
    LOGGER.handlers[:] = [handler]
    LOGGER.setLevel(level)
    LOGGER.propagate = False


def log(stage: str, message: str, **facts: object) -> None:
    """Report an event of a stage; ``facts`` are further fields of a JSON log."""
    LOGGER.info(message, extra={"stage": stage, "facts": facts})


def step(stage: str, message: str, **facts: object) -> None:
    """Report one of many events of a stage; with ``done`` and ``total``, how many there have been and will be."""
    LOGGER.info(message, extra={"stage": stage, "facts": facts, "passing": True})


def warn(stage: str, message: str, **facts: object) -> None:
    """Report something the user should look at; the run goes on."""
    LOGGER.warning(message, extra={"stage": stage, "facts": facts})


def warn_at_end(stage: str, message: str) -> None:
    """Report something that went wrong beside the main work; the run goes on, and says it once more at its end."""
    warn(stage, message)
    _at_end.append(message)


def log_at_end() -> None:
    """Repeat what :func:`warn_at_end` was told: the last lines are all that many a scheduler's mail shows."""
    told, _at_end[:] = list(_at_end), []
    for message in told:
        warn("end", f"the main work is done, but {message}")


@contextmanager
def side_work(stage: str, what: str, advice: str) -> Iterator[None]:
    """Let nothing that fails inside stop the run, which says at its end what failed and what to do.

    Args:
        stage: that the messages are of.
        what: was being done, in words that go on with "failed".
        advice: what to do about it.
    """
    try:
        yield
    except Exception as error:
        warn_at_end(stage, f"{what} failed: {cause(error)[:300]}; {advice}")


@contextmanager
def timed(stage: str, durations: dict[str, float]) -> Iterator[None]:
    """Announce a stage, and store the seconds it took under its name."""
    terminals = [handler for handler in LOGGER.handlers if isinstance(handler, Terminal)]
    if not terminals:
        log(stage, "started")
    for terminal in terminals:
        terminal.begin(stage)
    start = time.monotonic()
    try:
        with doing(stage=stage), spans.stage(stage):
            yield
    finally:
        for terminal in terminals:
            terminal.end()
    durations[stage] = round(time.monotonic() - start, 1)
    log(stage, f"done in {durations[stage]:.1f} s", seconds=durations[stage])


def log_failure(error: BaseException, command: str) -> None:
    """Report a failure: stage, unit, cause and the command that goes on where it stopped."""
    facts = failure_facts(error)
    where = ", ".join(f"{name} {value}" for name, value in facts.items()) or "before the first stage"
    reason = cause(error)
    trace = "".join(traceback.format_exception(error))
    line = redact(f"remedi: failed in {where}: {reason}; what is done is kept, to go on run: {command}")
    if in_json():
        kept = {name: value for name, value in facts.items() if name != "stage"} | {"resume": command, "trace": trace}
        LOGGER.error(reason, extra={"stage": facts.get("stage"), "facts": kept})
    else:
        print(redact(trace), line, sep="\n", file=sys.stderr)


def in_json() -> bool:
    """Whether stderr is for machines."""
    return any(isinstance(handler.formatter, _Json) for handler in LOGGER.handlers)
