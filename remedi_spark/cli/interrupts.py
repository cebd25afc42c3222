"""Ctrl-C and SIGTERM end the command within seconds, and leave no lease and no half a file behind."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType

from remedi_spark.spark.watchdog import cancel_all_jobs
from remedi_spark.storage.lease import free_all

GRACE_SECONDS = 5.0
"""How long what is under way may take to clean up; fits in native code do not listen."""


class Interrupted(SystemExit):
    """A signal asked the process to end; ``code`` is what it ends with."""


def end_on_signals() -> None:
    """Have SIGINT and SIGTERM end this process; only a command line that owns its process does this."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)  # once is enough
    timer = threading.Timer(GRACE_SECONDS, _leave, (128 + number,))
    timer.daemon = True
    timer.start()
    # Apart from this thread: it may be in the middle of a call to the JVM itself.
    threading.Thread(target=cancel_all_jobs, daemon=True).start()
    raise Interrupted(128 + number)


def _leave(code: int) -> None:
    """End although threads still wait for fits."""
    free_all()
    print("remedi: interrupted; run the same command again to go on", file=sys.stderr, flush=True)
    os._exit(code)
