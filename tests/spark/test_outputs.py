"""Results are written whole, over former results only."""

from __future__ import annotations

import csv
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from pyspark.errors import PySparkException

from remedi_spark.errors import InputError
from remedi_spark.spark.capabilities import Capabilities
from remedi_spark.storage.outputs import check_output, write_table
from remedi_spark.storage.replacing import beside, replace_folder, replace_remote
from remedi_spark.storage.tables import read_table

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

COLUMNS = ("owner_id", "score")
SCHEMA = "owner_id long, score double, reasons array<struct<feature string, value string, contribution double>>"


def _scores(spark: SparkSession, count: int) -> Any:
    reasons = [('spend, "total"', "1\\2", 0.25), ("brand", None, -0.125)]
    return spark.createDataFrame([(i, 0.5, reasons if i == 0 else None) for i in range(count)], SCHEMA)


def test_files_that_nobody_could_move_are_refused_before_any_work(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    connected = Capabilities(has_jvm=False, can_cache=False, can_barrier=False)
    monkeypatch.setattr("remedi_spark.storage.outputs.capabilities", lambda _: connected)
    with pytest.raises(InputError, match="over Spark Connect this process moves no files there"):
        check_output(spark, "s3a://bucket/scores.parquet", COLUMNS)
    check_output(spark, "s3a://bucket/scores", COLUMNS)


@pytest.mark.parametrize("name", ["scores", "scores.parquet", "scores.csv"])
def test_a_former_result_is_replaced_whole(spark: SparkSession, tmp_path: Path, name: str) -> None:
    out = str(tmp_path / name)
    for count in (5, 3):
        check_output(spark, out, COLUMNS)
        write_table(_scores(spark, count), out)
    assert sorted(row["owner_id"] for row in read_table(spark, out).collect()) == [0, 1, 2]
    assert [path.name for path in tmp_path.iterdir()] == [name], "nothing is left beside it"


def test_a_result_in_the_catalog_is_replaced(spark: SparkSession) -> None:
    try:
        for count in (5, 3):
            check_output(spark, "default.core_scores", COLUMNS)
            write_table(_scores(spark, count), "default.core_scores")
        assert spark.read.table("default.core_scores").count() == 3
        with pytest.raises(InputError, match=r"output default\.core_scores: exists and has no column 'rank'"):
            check_output(spark, "default.core_scores", ("owner_id", "rank"))
    finally:
        spark.sql("DROP TABLE IF EXISTS default.core_scores")


@pytest.mark.parametrize("name", ["file", "folder", "delta", "other.parquet", "other.csv"])
def test_something_else_is_refused(spark: SparkSession, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    other = spark.createDataFrame([(1,)], "something long")
    if name == "file":
        path.write_text("mine")
    elif name == "folder":
        path.mkdir()
        (path / "notes.txt").write_text("mine")
    elif name == "delta":
        other.write.format("delta").save(str(path))
    else:
        other.write.option("header", "true").format(name.rsplit(".", maxsplit=1)[-1]).save(str(path))
    with pytest.raises(InputError, match=f"{name}: exists and is not a scores table"):
        check_output(spark, str(path), COLUMNS)


def test_a_failed_write_leaves_the_former_result(spark: SparkSession, tmp_path: Path) -> None:
    out = str(tmp_path / "scores.parquet")
    write_table(_scores(spark, 5), out)
    with pytest.raises(PySparkException):
        write_table(_scores(spark, 3).selectExpr("raise_error('x') AS owner_id"), out)
    assert read_table(spark, out).count() == 5
    assert [path.name for path in tmp_path.iterdir()] == ["scores.parquet"]


def test_what_a_kill_between_the_two_renames_moved_aside_comes_back(spark: SparkSession, tmp_path: Path) -> None:
    out = tmp_path / "scores.parquet"
    write_table(_scores(spark, 5), str(out))
    out.rename(tmp_path / f".scores.parquet.old.{'a' * 32}")
    check_output(spark, str(out), COLUMNS)
    assert read_table(spark, str(out)).count() == 5


def test_of_two_writers_at_once_the_last_one_stands_whole(tmp_path: Path) -> None:
    path = tmp_path / "scores"

    def write(number: int) -> None:
        new = beside(path)
        new.mkdir()
        for name in range(5):
            (new / str(name)).write_text(str(number))
        replace_folder(new, path)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(40)))
    assert len({file.read_text() for file in path.iterdir()}) == 1
    assert len(list(path.iterdir())) == 5


def test_a_place_that_only_spark_reaches_is_replaced_after_a_whole_write(spark: SparkSession, tmp_path: Path) -> None:
    """Hadoop's own local file system stands for hdfs: here, whose scheme is not understood as local."""
    out = tmp_path / "scores"
    for count in (5, 3):
        new = str(tmp_path / f".scores.new.{count}")
        _scores(spark, count).write.parquet(new)
        replace_remote(spark, new, str(out))
        assert read_table(spark, str(out)).count() == count
    with pytest.raises(OSError, match="the former result is as it was"):
        replace_remote(spark, str(tmp_path / "nothing"), str(out))
    assert read_table(spark, str(out)).count() == 3
    assert not [path.name for path in tmp_path.iterdir() if path.is_dir() and path != out]


def test_file_is_the_local_file_system(spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    out = (tmp_path / "scores.parquet").as_uri()
    for count in (5, 3):
        check_output(spark, out, COLUMNS)
        write_table(_scores(spark, count), out)
    assert [path.name for path in tmp_path.iterdir()] == ["scores.parquet"]
    assert spark.read.parquet(str(tmp_path / "scores.parquet")).count() == 3


def test_what_others_have_cached_stays_cached(spark: SparkSession, tmp_path: Path) -> None:
    mine = spark.range(7).cache()
    try:
        assert mine.count() == 7
        write_table(_scores(spark, 5), str(tmp_path / "scores"))
        write_table(_scores(spark, 5), str(tmp_path / "scores.parquet"))
        assert mine.storageLevel.useMemory
        assert "InMemoryTableScan" in mine._jdf.queryExecution().executedPlan().toString()
    finally:
        mine.unpersist()


def test_new_paths_and_empty_folders_are_free(spark: SparkSession, tmp_path: Path) -> None:
    check_output(spark, str(tmp_path / "new"), COLUMNS)
    (tmp_path / "empty").mkdir()
    check_output(spark, str(tmp_path / "empty"), COLUMNS)


def test_csv_holds_reasons_as_json_that_others_can_read(spark: SparkSession, tmp_path: Path) -> None:
    """Pandas, like a spreadsheet, doubles quotes inside quotes; a backslash is a letter like any other."""
    out = tmp_path / "scores.csv"
    write_table(_scores(spark, 2).coalesce(1), str(out))
    (file,) = out.glob("*.csv")
    found = pd.read_csv(file)
    assert json.loads(found["reasons"][0]) == [
        {"feature": 'spend, "total"', "value": "1\\2", "contribution": 0.25},
        {"feature": "brand", "contribution": -0.125},
    ]
    assert pd.isna(found["reasons"][1])
    again = read_table(spark, str(out)).where("owner_id = 0").collect()[0]
    assert json.loads(again["reasons"])[0]["feature"] == 'spend, "total"'


def test_csv_texts_are_whole_and_none_is_computed(spark: SparkSession, tmp_path: Path) -> None:
    ids = ["A001    ", " B1", "007", "=HYPERLINK(1)", "-12", "", "\r=1", "x\ny", "+49 89"]
    frame = spark.createDataFrame([(one, float(i)) for i, one in enumerate(ids)], "owner_id string, score double")
    for escape in (True, False):
        out = tmp_path / f"{escape}.csv"
        write_table(frame.coalesce(1), str(out), escape_formulas=escape)
        (file,) = out.glob("*.csv")
        with file.open(newline="", encoding="utf-8") as text:
            found = [row["owner_id"] for row in csv.DictReader(text)]
        wanted = ["'" + one if escape and one in ("=HYPERLINK(1)", "\r=1", "+49 89") else one for one in ids]
        assert found == wanted
    write_table(frame, str(tmp_path / "same.parquet"))
    assert {row[0] for row in spark.read.parquet(str(tmp_path / "same.parquet")).select("owner_id").collect()} == {*ids}
