"""The plan of a query as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from remedi_spark.spark.capabilities import capabilities

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_EVERY_FIELD = 2**31 - 1


def analysed_plan(frame: DataFrame) -> str:
    """Return the analysed plan of a frame, with all fields of wide schemas; without a JVM, a hash of it."""
    if not capabilities(frame.sparkSession).has_jvm:
        return str(frame.semanticHash())
    plan: Any = frame._jdf.queryExecution().analyzed()
    return str(plan.treeString(True, False, _EVERY_FIELD, False))
