"""Paths that mean what they say: signs such as ``*`` and ``[`` in them stand for themselves."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from remedi_spark.spark.capabilities import capabilities

if TYPE_CHECKING:
    from pyspark.sql import DataFrameReader, SparkSession

_SIGNS = re.compile(r"([\\\[\]{}*?])")


def literally(reader: DataFrameReader, spark: SparkSession, paths: Sequence[str]) -> tuple[DataFrameReader, list[str]]:
    """Return reader and paths such that Spark takes no sign in a path for a pattern.

    By an option of Spark's own, whose name a Connect server reads in small letters and does not know then: over Connect
    the signs are escaped, as Hadoop's patterns allow.
    """
    if capabilities(spark).has_jvm:
        return reader.option("__globPaths__", "false"), list(paths)
    return reader, [_SIGNS.sub(r"\\\1", path) for path in paths]
