"""The plan of a query: looked at now, and as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from remedi_spark.spark.capabilities import capabilities

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_EVERY_FIELD = 2**31 - 1


def analysed(frame: DataFrame) -> DataFrame:
    """Return a frame after Spark has looked at its query: over Connect it does not before it is asked for something.

    Raises:
        AnalysisException: the query is not sound, now rather than in another place.
    """
    _ = frame.schema
    return frame


def analysed_plan(frame: DataFrame) -> str:
    """Return the analysed plan of a frame, with all fields of wide schemas; without a JVM, a hash of it."""
    if not capabilities(frame.sparkSession).has_jvm:
        return str(frame.semanticHash())
    from py4j.protocol import Py4JError

    plan: Any = frame._jdf.queryExecution().analyzed()
    given = (True, False, _EVERY_FIELD, False)
    try:
        return str(plan.treeString(*given))
    except Py4JError:  # with one argument more since Spark 4.1
        return str(plan.treeString(*given, False))
