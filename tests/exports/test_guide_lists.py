"""The guide's lists are handed over as scores are: to files and to a real PostgreSQL, whole, once, and kept apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest
from pyspark.sql import functions as F

from remedi_spark.guides.guide_schema import CONTRACT
from tests.cli.conftest import Command
from tests.exports.conftest import Postgres, later, make_lists, make_scores, store

OWNERS, TOP = 400, 3
ROWS = OWNERS * TOP
pytestmark = pytest.mark.usefixtures("credentials")


@pytest.fixture(scope="module")
def table(spark: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    return store(make_lists(spark, OWNERS), tmp_path_factory.mktemp("guide") / "guide")


def to_database(remedi: Command, postgres: Postgres, table: str, *more: str) -> int:
    """Hand lists over; return how many rows of the target were touched."""
    done = remedi("export", "--guide", table, "--jdbc", postgres.url, "--json", *more)
    assert done.code == 0, done.err
    return int(json.loads(done.out)["changed"])


def to_files(remedi: Command, table: str, out: Path, *more: str) -> dict[str, Any]:
    done = remedi("export", "--guide", table, "--out", out, *more)
    assert done.code == 0, done.err
    manifest: dict[str, Any] = json.loads((out / "manifest.json").read_text())
    return manifest


def test_every_value_arrives_in_its_own_table_and_a_repetition_changes_nothing(
    remedi: Command, postgres: Postgres, table: str, spark: Any
) -> None:
    assert to_database(remedi, postgres, table) == ROWS
    names = [name for name in CONTRACT.names if name != "scored_at"]
    found = postgres.query(f"SELECT json_agg(json_build_array({', '.join(names)}) ORDER BY owner_id, rank) FROM guide")
    rows = spark.read.format("delta").load(table).orderBy("owner_id", "rank")
    assert json.loads(found[0][0]) == [[row[0], str(row[1]), *row[2:]] for row in rows.select(*names).collect()]
    where = "SELECT md5(string_agg(t::text || t.ctid::text, '' ORDER BY t::text)) FROM guide t"
    before = postgres.query(where)
    assert to_database(remedi, postgres, table) == 0
    assert postgres.query(where) == before
    assert postgres.query("SELECT rows, contract FROM guide_loads") == [[str(ROWS), CONTRACT.version]]
    assert postgres.query("SELECT count(*) FROM guide_latest") == [[str(ROWS)]]


def test_contract_in_the_database(remedi: Command, postgres: Postgres, table: str) -> None:
    to_database(remedi, postgres, table, "--table", "described_lists")
    found = postgres.query(
        "SELECT attname, attnotnull, col_description(attrelid, attnum) FROM pg_attribute "
        "WHERE attrelid = 'described_lists'::regclass AND attnum > 0 ORDER BY attnum"
    )
    assert [(name, required, comment) for name, required, comment in found] == [
        (column.name, "t", column.comment) for column in CONTRACT.columns
    ]
    with pytest.raises(AssertionError, match="described_lists_score"):
        postgres.query("UPDATE described_lists SET score = 1.5")


def test_shorter_lists_of_a_newer_run_replace_their_own_day_alone(
    remedi: Command, postgres: Postgres, table: str, spark: Any, tmp_path: Path
) -> None:
    first = spark.read.format("delta").load(table)
    both = store(first.unionByName(later(first, 28)), tmp_path / "both")
    assert to_database(remedi, postgres, both, "--table", "shelf", "--snapshot", "all") == 2 * ROWS
    # The last day is listed again: lists of two, other items first; one owner has none.
    again = later(first, 28).where("rank < 3 AND owner_id NOT LIKE '%\t7'")
    again = again.withColumns({"run_id": F.lit("again"), "item": F.concat("item", F.lit("!"))})
    to_database(remedi, postgres, store(again, tmp_path / "again"), "--table", "shelf")
    counts = postgres.query(
        "SELECT snapshot_date, count(*), max(rank), min(run_id), max(run_id) FROM shelf GROUP BY 1 ORDER BY 1"
    )
    assert counts == [
        ["2026-01-31", str(ROWS), "3", "run-0", "run-0"], ["2026-02-28", str(2 * OWNERS - 2), "2", "again", "again"]
    ]  # fmt: skip
    assert postgres.query("SELECT count(*) FROM shelf_latest WHERE item LIKE '%!'") == [[str(2 * OWNERS - 2)]]


def test_files_and_their_manifest(remedi: Command, table: str, tmp_path: Path) -> None:
    manifest = to_files(remedi, table, tmp_path / "out")
    assert (manifest["table"], manifest["contract"], manifest["rows"]) == ("guide", CONTRACT.version, ROWS)
    assert {one["name"]: one["comment"] for one in manifest["columns"]} == CONTRACT.comments
    folder = tmp_path / "out" / manifest["folder"]
    kinds = dict(duckdb.sql(f"SELECT column_name, column_type FROM (DESCRIBE FROM '{folder}/*.parquet')").fetchall())
    assert kinds == {
        "owner_id": "VARCHAR", "snapshot_date": "DATE", "rank": "INTEGER", "item": "VARCHAR", "score": "DOUBLE",
        "why": "VARCHAR", "new_to_owner": "BOOLEAN", "model_version": "VARCHAR", "run_id": "VARCHAR",
        "scored_at": "TIMESTAMP WITH TIME ZONE",
    }  # fmt: skip
    again = to_files(remedi, table, tmp_path / "out", "--format", "csv")
    parts = (tmp_path / "out" / again["folder"]).glob("*.csv")
    found = pd.concat(pd.read_csv(part) for part in parts)
    assert len(found) == ROWS and set(found["item"]) == {f'käse "x", {number}' for number in range(7)}


def test_what_is_no_guide_or_would_mix_two_tables_is_refused(
    remedi: Command, postgres: Postgres, table: str, spark: Any, tmp_path: Path
) -> None:
    def refused(*arguments: Any, words: str) -> None:
        done = remedi("export", *arguments)
        assert done.code == 2, done.err
        assert words in done.message and "\n" not in done.message.strip(), done.message

    scores, out = store(make_scores(spark, 20), tmp_path / "scores"), tmp_path / "out"
    refused("--scores", table, "--out", out, words="of remedi guide is given by --guide")
    refused("--guide", scores, "--out", out, words="of scores is given by --scores")
    refused("--guide", table, "--scores", scores, "--out", out, words="one of --scores and --guide, found both")
    refused("--jdbc", postgres.url, words="one of --scores and --guide, found neither")
    refused("--guide", table, "--out", out, "--snapshot", "2020-01-01", words="it has 2026-01-31 to 2026-01-31")
    assert not out.exists()
    lists = spark.read.format("delta").load(table)
    undated = store(lists.withColumn("scored_at", F.lit(None).cast("timestamp")), tmp_path / "undated")
    refused("--guide", undated, "--out", out, words=f"scored_at is null in {ROWS} rows")
    to_files(remedi, table, out)
    refused("--scores", scores, "--out", out, words="holds an export of guide")
    to_database(remedi, postgres, table, "--table", "lists")
    refused("--scores", scores, "--jdbc", postgres.url, "--table", "lists", words="'rank' is integer, expected bigint")
