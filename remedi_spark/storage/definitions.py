"""How a view is defined: it may change while the files below it stay as they are."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING

from remedi_spark.spark.plans import analysed_plan

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_EXPRESSION_ID = re.compile(r"#\d+")


def definition(spark: SparkSession, name: str) -> str | None:
    """Return the plan of a view, whole and the same in every session; None for what is no view of the catalog.

    Views of views are resolved in it, so that another definition anywhere below shows.
    """
    from pyspark.errors import PySparkException

    with suppress(PySparkException):
        if spark.catalog.getTable(name).tableType in ("VIEW", "TEMPORARY"):
            return _plan(spark.table(name))
    return None


def _plan(frame: DataFrame) -> str:
    known: dict[str, str] = {}
    return _EXPRESSION_ID.sub(lambda found: known.setdefault(found[0], f"#{len(known)}"), analysed_plan(frame))
