"""Rows of a wide table are read again rather than kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from remedi_spark.samples.width import WIDE, kept_unless_wide

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def test_rows_are_kept_up_to_a_width(spark: SparkSession) -> None:
    narrow = spark.range(3).select(*[(F.col("id") + i).alias(f"f{i}") for i in range(WIDE)])
    with kept_unless_wide(narrow) as rows:
        assert rows.is_cached
    assert not narrow.is_cached
    with kept_unless_wide(narrow.withColumn("more", F.lit(1))) as rows:
        assert not rows.is_cached
