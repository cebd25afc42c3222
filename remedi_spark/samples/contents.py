"""What a flat table holds, so that a change of it is noticed."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from remedi_spark.config.sources import Location
from remedi_spark.features.changes import fingerprint

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from remedi_spark.samples.flat import FlatTable


def contents(spark: SparkSession, source: FlatTable) -> list[Any]:
    """Return what tells the contents of a table, and of its test table, from any other, as JSON."""
    return [content(spark, table) for table in (source.table, source.test) if table]


def content(spark: SparkSession, table: str) -> Any:
    """Return what tells the content of one table; for rows of memory, something new every time."""
    found = fingerprint(spark, Location(path=table), "--table")
    return found if found.get("files") or "delta" in found else uuid.uuid4().hex
