"""Tables of a run, and the user's tables in every form."""

from __future__ import annotations

import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from remedi_spark.errors import InputError, damaged_log
from remedi_spark.spark.errors import SPARK_ERRORS
from remedi_spark.storage.catalog_names import quoted_name
from remedi_spark.storage.outputs import write_table
from remedi_spark.storage.tables import Tables, is_catalog_name, is_csv, read_table

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ROWS = [(1, "a"), (2, None)]
SCHEMA = "id long, `na.me` string"


def test_a_folder_of_tables_is_written_read_and_versioned(spark: SparkSession, tmp_path: Path) -> None:
    tables = Tables(spark, f"{tmp_path}/run/")
    assert not tables.exists("one")
    with pytest.raises(InputError, match="run/one: not found; run the stage that writes one first"):
        tables.read("one")
    tables.overwrite(spark.createDataFrame(ROWS, "id long, name string"), "one")
    tables.overwrite(spark.createDataFrame([(3, 0.5)], "id long, score double"), "one")
    assert tables.version("one") == 1
    assert [tuple(row) for row in tables.read("one").collect()] == [(3, 0.5)], "the second write replaced the schema"


def test_a_part_of_a_table_is_replaced_alone(spark: SparkSession, tmp_path: Path) -> None:
    tables = Tables(spark, str(tmp_path))
    schema = "day date, id long"
    first, second = date(2026, 1, 1), date(2026, 1, 2)
    where = f"day = '{first}'"
    tables.overwrite(spark.createDataFrame([(first, 1), (first, 2)], schema), "t", where=where, partition_by=("day",))
    tables.overwrite(spark.createDataFrame([(second, 3)], schema), "t", where=f"day = '{second}'")
    tables.overwrite(spark.createDataFrame([(first, 9)], schema), "t", where=where)
    assert sorted(tuple(row) for row in tables.read("t").collect()) == [(first, 9), (second, 3)]


def test_a_new_field_of_the_replaced_rows_is_added_to_the_table(spark: SparkSession, tmp_path: Path) -> None:
    tables, found = Tables(spark, str(tmp_path)), "array<struct<a string{}>>"
    old, new = (spark.createDataFrame(rows, f"id long, found {found.format(more)}") for rows, more in (
        ([(1, [("x",)]), (2, None)], ""), ([(2, [("y", 0.5)])], ", b double")
    ))  # fmt: skip
    tables.overwrite(old, "t", where="id > 0")
    tables.overwrite(new, "t", where="id = 2")
    rows = tables.read("t").orderBy("id").collect()
    assert [tuple(row["found"][0]) for row in rows] == [("x", None), ("y", 0.5)]


@pytest.mark.parametrize("same", [True, False])
def test_two_runs_at_once_leave_whole_snapshots(spark: SparkSession, tmp_path: Path, same: bool) -> None:
    """The table does not exist yet; both write 500 rows, to the same snapshot or each to its own."""
    tables = Tables(spark, str(tmp_path))
    days = [date(2026, 1, 1), date(2026, 1, 1 if same else 2)]

    def write(run: int) -> None:
        frame = spark.range(500).selectExpr(f"DATE '{days[run]}' AS day", "id", f"{run} AS run")
        tables.overwrite(frame, "t", where=f"day = '{days[run]}'", partition_by=("day",))

    for _ in range(2):
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(write, [0, 1]))
        counts = {
            (row["day"], row["run"]): row["count"] for row in tables.read("t").groupBy("day", "run").count().collect()
        }
        assert set(counts.values()) == {500}
        assert {day for day, _ in counts} == set(days)
        assert len(counts) == len(set(days)), "the rows of one run, not of both"


def test_a_commit_is_tried_a_bounded_number_of_times(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from delta.exceptions import ConcurrentAppendException

    tables, tried = Tables(spark, str(tmp_path)), []

    def conflict(*_: object) -> None:
        tried.append(1)
        raise ConcurrentAppendException("taken", "at commit")

    monkeypatch.setattr(Tables, "_save", conflict)
    monkeypatch.setattr("remedi_spark.storage.tables.time.sleep", lambda _: None)
    with pytest.raises(RuntimeError, match="another run wrote to it during each of 5 attempts"):
        tables.overwrite(spark.range(3), "t")
    assert len(tried) == 5


@pytest.mark.parametrize(
    ("root", "location"),
    [("main.gold", "main.gold.t"), ("prod-catalog.gold", "`prod-catalog`.gold.t"),
     ("`prod-catalog`.`gold 2`", "`prod-catalog`.`gold 2`.t"), ("`main`.gold", "main.gold.t")],
)  # fmt: skip
def test_odd_names_of_a_catalog_are_quoted(root: str, location: str) -> None:
    tables = Tables(cast(Any, None), root)
    assert (tables.in_catalog, tables.location("t")) == (True, location)


@pytest.mark.parametrize("root", ["spark_catalog.core_test", "`spark_catalog`.`core_test`"])
def test_a_schema_of_the_catalog_holds_tables_too(spark: SparkSession, root: str) -> None:
    tables = Tables(spark, root)
    schema = quoted_name(root)
    try:
        assert tables.in_catalog
        assert not tables.exists("one")
        tables.overwrite(spark.createDataFrame(ROWS, "id long, name string"), "one")
        assert (tables.exists("one"), tables.version("one"), tables.read("one").count()) == (True, 0, 2)
        assert read_table(spark, f"{root}.one").count() == 2
        write_table(tables.read("one"), f"{root}.two")
        assert tables.read("two").count() == 2
    finally:
        spark.sql(f"DROP SCHEMA IF EXISTS {schema} CASCADE")


@pytest.mark.parametrize(
    ("name", "expected"),
    [("owners", False),
     ("gold.owners", True), ("main.gold.owners", True), ("a.b.c.d", False), ("owners.csv", False),
     ("owners.parquet", False), ("owners.delta", False),
     ("prod-catalog.gold", True), ("prod-catalog.gold.owners", True), ("`prod-catalog`.gold", True),
     ("`a b`.`c-d`.e", True), ("`../x`.y", False), ("a..b", False), ("hdfs:/a.b", False),
     ("./owners", False), ("s3://bucket/owners", False), ("1owners", False)],
)  # fmt: skip
def test_catalog_names_are_told_from_paths(name: str, expected: bool) -> None:
    assert is_catalog_name(name) is expected


def test_a_folder_that_exists_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_catalog_name("gold.owners")
    (tmp_path / "gold.owners").mkdir()
    monkeypatch.chdir(tmp_path)
    assert not is_catalog_name("gold.owners")


def test_delta_parquet_and_csv_hold_the_same_rows(spark: SparkSession, tmp_path: Path) -> None:
    frame = spark.createDataFrame(ROWS, SCHEMA)
    frame.write.parquet(str(tmp_path / "rows.parquet"))
    frame.write.parquet(str(tmp_path / "plain_folder"))
    frame.write.option("header", "true").csv(str(tmp_path / "rows.csv"))
    frame.withColumnRenamed("na.me", "name").write.format("delta").save(str(tmp_path / "delta"))
    for name in ("rows.parquet", "plain_folder", "rows.csv", "delta"):
        found = read_table(spark, str(tmp_path / name)).collect()
        assert sorted(tuple(row) for row in found) == ROWS, name


def test_csv_is_read_as_spreadsheets_write_it(spark: SparkSession, tmp_path: Path) -> None:
    path = tmp_path / "owners.csv"
    path.write_text('id,"say ""who""",näme,code\n1,"a, ""b""\nc",Zoë,012\n2,\\,"",13\n', encoding="utf-8")
    inferred = read_table(spark, str(path))
    assert inferred.columns == ["id", 'say "who"', "näme", "code"]
    rows = sorted(tuple(row) for row in inferred.collect())
    assert rows == [(1, 'a, "b"\nc', "Zoë", "012"), (2, "\\", None, "13")]
    text = sorted(tuple(row) for row in read_table(spark, str(path), as_text=["id", "no such"]).collect())
    assert [row[0] for row in text] == ["1", "2"], "as the file has it"


def test_tsv_is_separated_by_tabs(spark: SparkSession, tmp_path: Path) -> None:
    path = tmp_path / "owners.tsv"
    path.write_text("id\tname\n1\ta,b\n")
    assert [tuple(row) for row in read_table(spark, str(path)).collect()] == [(1, "a,b")]
    assert is_csv("x/OWNERS.CSV/")
    assert not is_csv("owners.csv.parquet")


@pytest.mark.parametrize(
    ("table", "message"),
    [("nosuch", "no such file or folder"), ("no.such", "no such path and no such catalog table"),
     ("./nosuch/owners.csv", "no such file or folder"), ("{tmp}/text.txt", "neither a Delta folder nor .parquet"),
     ("{tmp}/broken.parquet", "cannot be read|neither")],
)  # fmt: skip
def test_a_wrong_table_is_one_line(spark: SparkSession, tmp_path: Path, table: str, message: str) -> None:
    (tmp_path / "text.txt").write_text("x")
    (tmp_path / "broken.parquet").mkdir()
    with pytest.raises(InputError, match=message) as raised:
        read_table(spark, table.format(tmp=tmp_path))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("damage", ["garbage", "missing commit"])
def test_a_damaged_delta_log_is_one_line(spark: SparkSession, tmp_path: Path, damage: str) -> None:
    tables = Tables(spark, str(tmp_path))
    for number in range(3):
        tables.overwrite(spark.createDataFrame([(number,)], "id long"), "t")
    log = tmp_path / "t" / "_delta_log"
    if damage == "garbage":
        (log / f"{2:020}.json").write_text('{"add": {"path": "part-0')
        (log / f".{2:020}.json.crc").unlink(missing_ok=True)
    else:
        (log / f"{1:020}.json").unlink()
    shutil.copytree(tmp_path / "t", tmp_path / "copy")  # Delta remembers what it has read of the other
    for read in (lambda: tables.read("copy"), lambda: read_table(spark, str(tmp_path / "copy"))):
        with pytest.raises((InputError, *SPARK_ERRORS)) as raised:
            read().collect()
        message = str(raised.value) if isinstance(raised.value, InputError) else damaged_log(raised.value)
        assert message is not None
        assert re.match(rf"table {tmp_path}/copy: its Delta log is damaged .* restore {tmp_path}/copy", message)
        assert "\n" not in message


def test_the_last_commit_is_the_one_of_the_history(spark: SparkSession, tmp_path: Path) -> None:
    from delta.tables import DeltaTable

    tables = Tables(spark, str(tmp_path))
    stamps = set()
    for version in range(3):
        tables.overwrite(spark.range(version + 1), "numbers")
        last = DeltaTable.forPath(spark, tables.location("numbers")).history(1).selectExpr(
            "version", "unix_millis(timestamp) AS milliseconds"
        ).collect()[0]  # fmt: skip
        assert tables.version("numbers") == last["version"] == version
        listed = datetime.fromisoformat(tables.stamp("numbers").split(" of ")[1])
        assert int(listed.timestamp() * 1000) == pytest.approx(last["milliseconds"], abs=1)
        stamps.add(tables.stamp("numbers"))
    assert len(stamps) == 3


@pytest.mark.parametrize("root", ["folder", "spark_catalog.tidy_test"])
def test_tidying_a_table_up_leaves_it_the_same(spark: SparkSession, tmp_path: Path, root: str) -> None:
    tables = Tables(spark, root if "." in root else str(tmp_path))
    name = tables.location("t") if tables.in_catalog else f"delta.`{tables.location('t')}`"
    try:
        tables.overwrite(spark.range(9).repartition(3), "t")
        before = tables.version("t"), tables.stamp("t")
        for statement in (f"OPTIMIZE {name}", f"VACUUM {name}", f"ALTER TABLE {name} SET TBLPROPERTIES ('a' = 'b')"):
            spark.sql(statement)
        assert spark.sql(f"DESCRIBE HISTORY {name}").count() == 5
        assert (tables.version("t"), tables.stamp("t")) == before
        tables.append(spark.range(1), "t")
        assert tables.version("t") == 5
    finally:
        spark.sql("DROP SCHEMA IF EXISTS tidy_test CASCADE")
