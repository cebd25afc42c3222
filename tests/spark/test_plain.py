"""Tables that one stage passes on to the next: plain folders, whole or not at all, and known by what wrote them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from remedi_spark.storage.plain import is_passed_on
from remedi_spark.storage.tables import Tables

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession

SCHEMA = "id long, x array<double>, `na.me` string"
ROWS = [(1, [0.5, None], "a"), (2, [], None)]


def test_rows_and_types_come_back(spark: SparkSession, tmp_path: Path) -> None:
    tables = Tables(spark, str(tmp_path))
    written = spark.createDataFrame(ROWS, SCHEMA)
    tables.replace(written, "encoded")
    read = tables.read("encoded")
    assert read.schema.simpleString() == written.schema.simpleString()
    assert sorted(tuple(row) for row in read.collect()) == ROWS
    assert not (tmp_path / "encoded" / "_delta_log").exists()


def test_a_table_without_rows_is_a_table(spark: SparkSession, tmp_path: Path) -> None:
    tables = Tables(spark, str(tmp_path))
    tables.replace(spark.createDataFrame([], SCHEMA), "samples")
    assert tables.read("samples").columns == ["id", "x", "na.me"]
    assert tables.read("samples").count() == 0


def test_learning_the_columns_runs_no_job(spark: SparkSession, tmp_path: Path) -> None:
    tables = Tables(spark, str(tmp_path))
    tables.replace(spark.createDataFrame(ROWS, SCHEMA), "encoded")
    scheduler = spark.sparkContext._jsc.sc().dagScheduler()  # type: ignore[attr-defined]
    before = scheduler.numTotalJobs()
    assert tables.read("encoded").columns == ["id", "x", "na.me"]
    assert scheduler.numTotalJobs() == before


def test_every_write_has_a_stamp_of_its_own(spark: SparkSession, tmp_path: Path) -> None:
    tables, frame = Tables(spark, str(tmp_path)), spark.createDataFrame(ROWS, SCHEMA)
    tables.replace(frame, "encoded")
    first = tables.stamp("encoded")
    assert tables.stamp("encoded") == first
    tables.replace(frame, "encoded")
    assert tables.stamp("encoded") != first


def test_what_is_cached_of_the_table_is_not_read_for_it(spark: SparkSession, tmp_path: Path) -> None:
    tables = Tables(spark, str(tmp_path))
    tables.replace(spark.createDataFrame(ROWS, SCHEMA), "encoded")
    cached = tables.read("encoded").cache()
    assert cached.count() == 2
    tables.replace(spark.createDataFrame(ROWS[:1], SCHEMA), "encoded")
    assert tables.read("encoded").count() == 1
    cached.unpersist()


def test_a_write_that_fails_leaves_the_table_as_it_was(spark: SparkSession, tmp_path: Path) -> None:
    tables = Tables(spark, str(tmp_path))
    tables.replace(spark.createDataFrame(ROWS, SCHEMA), "encoded")
    stamp = tables.stamp("encoded")
    with pytest.raises(Exception, match="planted"):
        tables.replace(spark.range(2).selectExpr("CAST(raise_error('planted') AS STRING) AS id"), "encoded")
    assert tables.stamp("encoded") == stamp
    assert tables.read("encoded").count() == 2
    assert [path.name for path in tmp_path.iterdir()] == ["encoded"]


def test_a_folder_without_its_mark_is_no_table(spark: SparkSession, tmp_path: Path) -> None:
    tables = Tables(spark, str(tmp_path))
    tables.replace(spark.createDataFrame(ROWS, SCHEMA), "encoded")
    (tmp_path / "encoded" / "_SUCCESS").unlink()
    assert not tables.exists("encoded")


def test_a_table_of_an_earlier_version_is_read_and_replaced(spark: SparkSession, tmp_path: Path) -> None:
    tables = Tables(spark, str(tmp_path))
    spark.createDataFrame(ROWS, SCHEMA).write.format("delta").save(str(tmp_path / "encoded"))
    assert tables.read("encoded").count() == 2
    assert tables.stamp("encoded").startswith("0 of ")
    tables.replace(spark.createDataFrame(ROWS[:1], SCHEMA), "encoded")
    assert tables.read("encoded").count() == 1
    assert not (tmp_path / "encoded" / "_delta_log").exists()


def test_other_tables_keep_their_log(spark: SparkSession, tmp_path: Path) -> None:
    tables = Tables(spark, str(tmp_path))
    assert is_passed_on("evaluation_encoded")
    assert not is_passed_on("scores")
    tables.replace(spark.createDataFrame(ROWS, "id long, x array<double>, name string"), "scores")
    assert (tmp_path / "scores" / "_delta_log").exists()
