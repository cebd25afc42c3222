"""The plan of a query as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from remedi_spark.spark.jvm import java

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_EVERY_FIELD = 2**31 - 1


def analysed_plan(frame: DataFrame) -> str:
    """Return the analysed plan of a frame, with all fields of wide schemas.

    Raises:
        InputError: the session has no JVM within reach.
    """
    java(frame.sparkSession, "the plan of a view")
    plan: Any = frame._jdf.queryExecution().analyzed()
    return str(plan.treeString(True, False, _EVERY_FIELD, False))
