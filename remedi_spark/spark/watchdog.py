"""A time limit for one unit of work on Spark: a fit whose worker is gone must not wait for it for ever.

Rings of sockets (LightGBM, AllReduce, gloo) may wait long for a member that a lost executor has taken along. When the
time is up, the jobs that this thread has started are cancelled, which makes the call that waits for them raise.
"""

from __future__ import annotations

import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from remedi_spark.spark import connect
from remedi_spark.spark.capabilities import capabilities

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


class TimeLimitError(Exception):
    """A unit of work took longer than it may."""


@contextmanager
def time_limit(spark: SparkSession, seconds: float | None, what: str) -> Iterator[None]:
    """Cancel the Spark jobs that the block starts when it has not ended within ``seconds`` (None: no limit).

    Raises:
        TimeLimitError: the time was up.
    """
    if seconds is None:
        yield
        return
    tag, up = f"remedi-{uuid.uuid4().hex}", threading.Event()
    jobs = _jobs(spark)

    def cancel() -> None:
        up.set()
        jobs.cancel(tag)

    timer = threading.Timer(seconds, cancel)
    timer.daemon = True
    jobs.tag(tag)
    timer.start()
    try:
        yield
    except Exception as error:
        if up.is_set():
            raise TimeLimitError(
                f"{what}: not done within {seconds:g} s (spark.unit_seconds), cancelled; give it more time, or look"
                " for lost executors"
            ) from error
        raise
    finally:
        timer.cancel()
        jobs.untag(tag)


class _Jobs(Protocol):
    """How a session marks the jobs that this thread starts, and cancels those that it has marked."""

    def tag(self, name: str) -> None: ...
    def untag(self, name: str) -> None: ...
    def cancel(self, name: str) -> None: ...


def _jobs(spark: SparkSession) -> _Jobs:
    return _ClassicJobs(spark) if capabilities(spark).has_jvm else _ConnectJobs(spark)


class _ClassicJobs:
    def __init__(self, spark: SparkSession) -> None:
        self._context = spark.sparkContext

    def tag(self, name: str) -> None:
        self._context.addJobTag(name)
        # Without it a cancelled task runs on until it looks whether it should.
        self._context.setInterruptOnCancel(True)

    def untag(self, name: str) -> None:
        self._context.setInterruptOnCancel(False)
        self._context.removeJobTag(name)

    def cancel(self, name: str) -> None:
        self._context.cancelJobsWithTag(name)


class _ConnectJobs:
    def __init__(self, spark: SparkSession) -> None:
        self._session: Any = spark

    def tag(self, name: str) -> None:
        self._session.addTag(name)

    def untag(self, name: str) -> None:
        self._session.removeTag(name)

    def cancel(self, name: str) -> None:
        self._session.interruptTag(name)


def cancel_all_jobs() -> None:
    """Cancel whatever runs on the Spark of this process, if there is one."""
    if "pyspark" not in sys.modules:
        return
    from pyspark import SparkContext

    context: Any = getattr(SparkContext, "_active_spark_context", None)
    if context is not None:  # a Connect server of this process has one too
        context.cancelAllJobs()
    elif connect.is_connected():
        session: Any = connect.started()
        if session is not None:
            session.interruptAll()
