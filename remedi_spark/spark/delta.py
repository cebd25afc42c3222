"""Delta tables by SQL alone: Delta's own Python classes need the JVM, or a plugin of the Connect server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.errors import AnalysisException

from remedi_spark.spark.names import quoted

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Row, SparkSession

_NO_TABLE = ("DELTA_MISSING_DELTA_TABLE", "DELTA_PATH_DOES_NOT_EXIST", "PATH_NOT_FOUND")
_OVERTAKEN = ("DELTA_CONCURRENT_", "DELTA_METADATA_CHANGED", "DELTA_PROTOCOL_CHANGED")
"""How Delta's names for a commit begin that another one has overtaken."""


def path_identifier(path: str) -> str:
    """Return what SQL calls the Delta table at an absolute path or address."""
    return f"delta.{quoted(path)}"


def is_delta_address(spark: SparkSession, path: str) -> bool:
    """Whether there is a Delta table at an absolute path or address."""
    try:
        detail(spark, path_identifier(path))
    except AnalysisException as error:
        if any(name in str(error) for name in _NO_TABLE):
            return False
        raise
    return True


def detail(spark: SparkSession, table: str) -> Row:
    """Return format, id, location and properties of a table, which is named as SQL does."""
    return spark.sql(f"DESCRIBE DETAIL {table}").collect()[0]


def history(spark: SparkSession, table: str, commits: int | None = None) -> DataFrame:
    """Return the last commits (None: all) of a table, which is named as SQL does."""
    return spark.sql(f"DESCRIBE HISTORY {table}" + ("" if commits is None else f" LIMIT {commits}"))


def overtaken(error: BaseException) -> bool:
    """Whether Delta refused a commit because another one came first."""
    named = type(error).__module__.startswith("delta.exceptions")
    return named or any(name in str(error) for name in _OVERTAKEN)
