"""Sessions of Spark Connect: found, and started where ``SPARK_REMOTE`` asks for one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

REMOTE = "SPARK_REMOTE"
"""PySpark's own variable: an address as ``sc://host:15002``, or a master such as ``local[2]`` to start a server for."""


def is_connected() -> bool:
    """Whether this process works, or is asked to work, over Spark Connect."""
    from pyspark.sql.utils import is_remote

    return bool(is_remote()) or REMOTE in os.environ


def started() -> SparkSession | None:
    """Return the Connect session of this process, of whatever thread; None where there is none that is alive."""
    try:
        from pyspark.sql.connect.session import SparkSession as Remote
    except ImportError:  # of the packages that Connect needs, one is missing: none can have started
        return None
    sessions: Any = Remote
    # The one of this thread, else the first of the process: other threads have none of their own.
    own: SparkSession | None = sessions.getActiveSession()
    first: SparkSession | None = getattr(sessions, "_default_session", None)
    return next((one for one in (own, first) if one is not None and not getattr(one, "is_stopped", False)), None)


def is_own_server(remote: str) -> bool:
    """Whether PySpark starts the server itself, in a JVM of this process, rather than finds one at an address."""
    return not remote.startswith("sc://")
