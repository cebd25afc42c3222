"""Where a run spends its time, as spans: the run, its stages, their units; as JSON lines for other tools.

Fields are those of OpenTelemetry's spans (traceId, spanId, parentSpanId, name, startTimeUnixNano, endTimeUnixNano,
status) with run, stage, unit, seconds and rows beside them; one object a line, written when a span ends.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

VARIABLE = "REMEDI_SPANS"
"""Environment variable that names the file."""
_OK, _ERROR = 1, 2


@dataclass
class Span:
    """A piece of work; times are seconds since 1970."""

    name: str
    started: float
    seconds: float = 0.0
    rows: int | None = None
    failed: bool = False


@dataclass
class _Trace:
    run: str = ""
    file: Path | None = None
    stage: Span | None = None
    stages: list[Span] = field(default_factory=list)
    started: float = field(default_factory=time.time)


_trace = _Trace()
_lock = threading.Lock()


def begin(run: str) -> None:
    """Forget the spans of a former run; write those of this one where ``REMEDI_SPANS`` says."""
    given = os.environ.get(VARIABLE)
    _trace.__dict__.update(_Trace(run, Path(given) if given else None).__dict__)


def write_to(path: Path) -> None:
    """Append the spans of this run to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    _trace.file = path


@contextmanager
def stage(name: str) -> Iterator[Span]:
    """Time a stage; units that end meanwhile are parts of it."""
    span = Span(name, time.time())
    before, _trace.stage = _trace.stage, span
    clock = time.monotonic()
    try:
        yield span
    except BaseException:
        span.failed = True
        raise
    finally:
        span.seconds = round(time.monotonic() - clock, 3)
        _trace.stage = before
        _trace.stages.append(span)
        _write(span, _identifier(_trace.run), unit=None, stage_name=name)


def unit(name: str, seconds: float) -> None:
    """Note a unit of the present stage that has just ended."""
    parent = _trace.stage
    span = Span(name, time.time() - seconds, round(seconds, 3))
    above = _identifier(_trace.run) if parent is None else _identifier(_trace.run, parent.name, parent.started)
    _write(span, above, unit=name, stage_name=None if parent is None else parent.name)


def count_rows(rows: int) -> None:
    """Note how many rows the present stage has worked on."""
    if _trace.stage is not None:
        _trace.stage.rows = rows


def stages() -> list[Span]:
    """Return the stages of this run that have ended, in their order."""
    return list(_trace.stages)


def end(*, failed: bool = False) -> None:
    """Write the span of the whole run."""
    span = Span("run", _trace.started, round(time.time() - _trace.started, 3), failed=failed)
    _write(span, None, unit=None, stage_name=None)


def _write(span: Span, parent: str | None, *, unit: str | None, stage_name: str | None) -> None:
    if _trace.file is None:
        return
    whole = parent is None
    event = {
        "traceId": hashlib.sha256(_trace.run.encode()).hexdigest()[:32],
        "spanId": _identifier(_trace.run) if whole else _identifier(_trace.run, span.name, span.started),
        "parentSpanId": parent,
        "name": span.name,
        "startTimeUnixNano": int(span.started * 1e9),
        "endTimeUnixNano": int((span.started + span.seconds) * 1e9),
        "status": {"code": _ERROR if span.failed else _OK},
        "run": _trace.run, "stage": stage_name, "unit": unit, "seconds": span.seconds, "rows": span.rows,
    }  # fmt: skip
    line = json.dumps(event, ensure_ascii=False) + "\n"
    with _lock, _trace.file.open("a", encoding="utf-8") as file:
        file.write(line)


def _identifier(*parts: object) -> str:
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:16]
