"""What can go wrong while the JVM of a local session starts: two that fetch jars at once, no network, no memory."""

from __future__ import annotations

import atexit
import hashlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from remedi_spark.config.spark import SparkConfig
from remedi_spark.errors import InputError
from remedi_spark.progress import log

_LONGEST = 400
"""Characters of what the JVM says of its end."""
_CAUSE = re.compile(
    r'(?:Exception in thread "main" |Error: |Caused by: )(.+)|(.*heap size.*|.*object heap.*|Unrecognized.*)'
)
_NO_MEMORY = re.compile(r"heap|memory", re.IGNORECASE)


@contextmanager
def starting(config: SparkConfig, packages: str, ivy: Path) -> Iterator[None]:
    """Start a JVM: alone if jars have to be fetched first, with its own lines in a file, and say why where it fails.

    Args:
        config: of the session.
        packages: Maven packages that Spark fetches, as ``spark.jars.packages`` has them.
        ivy: folder that they are kept in.

    Raises:
        InputError: the JVM ended before it was ready.
    """
    with _fetching_alone(packages, ivy), jvm_log(config) as lines:
        try:
            yield
        except Exception as error:
            if "JAVA_GATEWAY_EXITED" not in str(error):
                raise
            raise InputError(_refusal(lines.read_text(errors="replace") if lines else "", packages)) from error


@contextmanager
def _fetching_alone(packages: str, ivy: Path) -> Iterator[None]:
    """Let no other session of ours fetch at the same time, before a first one has started with these packages.

    Ivy, by which Spark fetches, has no lock of its own: of two that fill an empty folder both may fail.
    """
    mark = ivy / f".remedi-{hashlib.sha256(packages.encode()).hexdigest()[:12]}"
    if mark.exists():
        yield
        return
    try:
        ivy.mkdir(parents=True, exist_ok=True)
        lock = FileLock(ivy / ".remedi.lock")
        _acquire(lock)
    except (OSError, NotImplementedError):  # no folder to write in, or one without locks
        yield
        return
    try:
        yield
        mark.touch()
    finally:
        lock.release()


def _acquire(lock: FileLock) -> None:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log("spark", "another session is fetching Spark's jars; waiting for it")
        lock.acquire()


def _refusal(lines: str, packages: str) -> str:
    """Return the message for a JVM that has ended, given what it printed."""
    found = [one for cause in _CAUSE.finditer(lines) if (one := (cause[1] or cause[2]).strip())]
    last = [line.strip() for line in lines.splitlines() if line.strip()][-1:]
    reason = (found or last or ["its own lines say why"])[0][:_LONGEST]
    if "unresolved dependency" in lines or "download failed" in lines:
        advice = (
            f"it fetches {packages} once from Maven Central: check names and network, or name a mirror's file in"
            " spark.settings: {spark.jars.ivySettings: FILE}"
        )
    elif _NO_MEMORY.search(reason):
        advice = "lower spark.driver_memory"
    else:
        advice = "--set spark.log_level=INFO shows all that it prints"
    return f"Spark: its JVM ended before it was ready: {reason}; {advice}"


@contextmanager
def jvm_log(config: SparkConfig) -> Iterator[Path | None]:
    """Send what the JVM itself prints (jar resolution, warnings before the log level is set) to a log file.

    The JVM inherits this process's standard output and error when it starts, and keeps what it inherited: results on
    standard output stay free of its lines. Where the log level asks for more, they stay there, and there is no file.
    """
    if config.log_level in ("DEBUG", "INFO"):
        yield None
        return
    # Of a name that nobody can guess, and of nobody else to read; gone when this process ends.
    handle, path = tempfile.mkstemp(prefix="remedi-spark-", suffix=".log")
    atexit.register(Path(path).unlink, missing_ok=True)
    sys.stdout.flush()
    kept = {stream: os.dup(stream) for stream in (1, 2)}
    try:
        for stream in kept:
            os.dup2(handle, stream)
        os.close(handle)
        yield Path(path)
    finally:
        for stream, former in kept.items():
            os.dup2(former, stream)
            os.close(former)
