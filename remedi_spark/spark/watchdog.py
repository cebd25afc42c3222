"""A time limit for one unit of work on Spark: a fit whose worker is gone must not wait for it for ever.

Rings of sockets (LightGBM, AllReduce, gloo) may wait long for a member that a lost executor has taken along. When the
time is up, the jobs that this thread has started are cancelled, which makes the call that waits for them raise.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

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
    context, tag, up = spark.sparkContext, f"remedi-{uuid.uuid4().hex}", threading.Event()

    def cancel() -> None:
        up.set()
        context.cancelJobsWithTag(tag)

    timer = threading.Timer(seconds, cancel)
    timer.daemon = True
    context.addJobTag(tag)
    # Without it a cancelled task runs on until it looks whether it should.
    context.setInterruptOnCancel(True)
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
        context.setInterruptOnCancel(False)
        context.removeJobTag(tag)
