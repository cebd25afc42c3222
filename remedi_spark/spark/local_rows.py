"""A few rows of Python values as a table."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F
from pyspark.sql import types as t

from remedi_spark.spark.schemas import data_type

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def local_rows(spark: SparkSession, rows: Iterable[Mapping[str, Any]], schema: str) -> DataFrame:
    """Return rows, each a mapping of column names to JSON-able values or times, in one partition.

    The rows travel as one JSON literal of the query: ``createDataFrame`` would pickle them and run a job of its own to
    turn them into Spark's, which takes longer than a small table takes to write.
    """
    text = json.dumps([dict(row) for row in rows], default=_iso)
    columns = data_type(schema)
    return spark.range(0, 1, 1, 1).select(F.inline(F.from_json(F.lit(text), t.ArrayType(columns))))


def _iso(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} in a local row")
