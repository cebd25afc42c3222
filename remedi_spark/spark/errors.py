"""What Spark raises: its own exceptions, and those of the JVM as Python sees them."""

from __future__ import annotations

from pyspark.errors import PySparkException


def _spark_errors() -> tuple[type[Exception], ...]:
    try:
        from py4j.protocol import Py4JJavaError
    except ImportError:  # a client of Spark Connect may do without
        return (PySparkException,)
    return (Py4JJavaError, PySparkException)


SPARK_ERRORS = _spark_errors()
"""To catch whatever a query may fail with, over a JVM or over Spark Connect."""
