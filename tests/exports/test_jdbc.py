"""Hand-over to a real PostgreSQL: what arrives, what a repetition, a kill or a refusal leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import functions as F

from remedi_spark.delivery.connection import PASSWORD
from remedi_spark.scoring.scores_schema import VERSION
from tests.cli.conftest import Command
from tests.exports.conftest import SECRET, Postgres, later, make_scores, store

ROWS = 3_000
pytestmark = pytest.mark.usefixtures("credentials")


@pytest.fixture(scope="module")
def table(spark: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    return store(make_scores(spark, ROWS), tmp_path_factory.mktemp("scores") / "scores")


def hand_over(remedi: Command, postgres: Postgres, scores: str, target: str, *more: str) -> Any:
    return remedi("export", "--scores", scores, "--jdbc", postgres.url, "--table", target, "--json", *more)


def changed(done: Any) -> int:
    """Rows of the target that an export touched."""
    assert done.code == 0, done.err
    return int(json.loads(done.out)["changed"])


def content(postgres: Postgres, target: str) -> list[list[str]]:
    """A checksum of the rows, and where they lie (which tells a row that was written anew)."""
    return postgres.query(
        f"SELECT count(*), md5(string_agg(t::text || t.ctid::text, '' ORDER BY t::text)) FROM {target} t"
    )


def leftovers(postgres: Postgres, target: str) -> list[list[str]]:
    return postgres.query(f"SELECT tablename FROM pg_tables WHERE tablename LIKE '{target}_staging%'")


def test_every_value_arrives_and_a_repetition_changes_nothing(
    remedi: Command, postgres: Postgres, table: str, spark: Any
) -> None:
    done = hand_over(remedi, postgres, table, "first")
    assert changed(done) == ROWS
    names = "owner_id, snapshot_date, score, rank, percentile, decile, in_top_k, model_version, run_id"
    found = postgres.query(f"SELECT json_agg(json_build_array({names}, reasons) ORDER BY rank) FROM first")
    rows = spark.read.format("delta").load(table).orderBy("rank")
    expected = rows.select(
        *names.split(", "), F.to_json("reasons", {"ignoreNullFields": "false"}).alias("reasons")
    ).collect()
    for got, row in zip(json.loads(found[0][0]), expected, strict=True):
        *values, reasons = row
        assert got[:-1] == [*values[:1], str(values[1]), *values[2:]]
        assert got[-1] == (None if reasons is None else json.loads(reasons))
    before = content(postgres, "first")
    again = hand_over(remedi, postgres, table, "first")
    assert changed(again) == 0
    assert content(postgres, "first") == before
    assert postgres.query("SELECT rows, contract FROM first_loads") == [[str(ROWS), VERSION]]
    assert SECRET not in done.out + done.err + again.out + again.err
    assert leftovers(postgres, "first") == []


def test_contract_in_the_database(remedi: Command, postgres: Postgres, table: str) -> None:
    from remedi_spark.scoring.scores_schema import COMMENTS, SCORES

    assert hand_over(remedi, postgres, table, "described").code == 0
    found = postgres.query(
        "SELECT attname, attnotnull, col_description(attrelid, attnum) FROM pg_attribute "
        "WHERE attrelid = 'described'::regclass AND attnum > 0 ORDER BY attnum"
    )
    assert {name: comment for name, _, comment in found} == COMMENTS
    timed = {column.name: column.nullable and column.name != "snapshot_date" for column in SCORES}
    assert {name: required == "f" for name, required, _ in found} == timed
    with pytest.raises(AssertionError, match="described_score"):
        postgres.query("UPDATE described SET score = 'NaN'")


def test_a_newer_run_replaces_its_snapshot_and_latest_shows_the_last(
    remedi: Command, postgres: Postgres, table: str, spark: Any, tmp_path: Path
) -> None:
    first = spark.read.format("delta").load(table)
    both = store(later(first, 28).unionByName(first), tmp_path / "both")
    assert hand_over(remedi, postgres, both, "history", "--snapshot", "all").code == 0
    assert postgres.query("SELECT count(*), min(snapshot_date) FROM history_latest") == [[str(ROWS), "2026-02-28"]]
    # The last snapshot is scored again: some owners have left, scores have moved.
    fewer = later(first, 28).where("rank > 100").withColumns({"run_id": F.lit("again"), "score": F.col("score") / 2})
    assert hand_over(remedi, postgres, store(fewer, tmp_path / "fewer"), "history").code == 0
    counts = postgres.query("SELECT snapshot_date, count(*), count(DISTINCT run_id) FROM history GROUP BY 1 ORDER BY 1")
    assert counts == [["2026-01-31", str(ROWS), "1"], ["2026-02-28", str(ROWS - 100), "1"]]
    assert postgres.query("SELECT max(score) < 0.5 FROM history_latest") == [["t"]]


def test_scores_without_a_time(remedi: Command, postgres: Postgres, spark: Any, tmp_path: Path) -> None:
    scores = store(make_scores(spark, 50, day=None), tmp_path / "flat")
    assert [changed(hand_over(remedi, postgres, scores, "flat")) for _ in range(2)] == [50, 0]
    assert postgres.query("SELECT count(*), count(snapshot_date) FROM flat_latest") == [["50", "0"]]


def test_a_backfill_is_noted_snapshot_by_snapshot(
    remedi: Command, postgres: Postgres, table: str, spark: Any, tmp_path: Path
) -> None:
    first = spark.read.format("delta").load(table).where("rank <= 10").withColumn("run_id", F.lit("backfill"))
    second = later(first, 28).where("rank <= 5").withColumn("run_id", F.lit("backfill"))
    both = store(first.unionByName(second), tmp_path / "both")
    assert hand_over(remedi, postgres, both, "backfill").code == 0
    assert postgres.query("SELECT count(*) FROM backfill") == [["5"]], "the latest alone"
    assert changed(hand_over(remedi, postgres, both, "backfill", "--snapshot", "all")) == 10
    noted = postgres.query("SELECT snapshot_date, rows FROM backfill_loads ORDER BY 1")
    assert noted == [["2026-01-31", "10"], ["2026-02-28", "5"]]
    assert postgres.query("SELECT count(*), min(snapshot_date) FROM backfill_latest") == [["5", "2026-02-28"]]
    # As an earlier version left it: one row a run, of any snapshot.
    postgres.query(
        "ALTER TABLE backfill_loads DROP CONSTRAINT backfill_loads_pkey; "
        "DELETE FROM backfill_loads WHERE snapshot_date = '2026-02-28'; "
        "ALTER TABLE backfill_loads ADD PRIMARY KEY (run_id)"
    )
    assert postgres.query("SELECT min(snapshot_date) FROM backfill_latest") == [["2026-01-31"]]
    assert changed(hand_over(remedi, postgres, both, "backfill", "--snapshot", "all")) == 0
    assert postgres.query("SELECT snapshot_date, rows FROM backfill_loads ORDER BY 1") == noted
    assert postgres.query("SELECT count(*), min(snapshot_date) FROM backfill_latest") == [["5", "2026-02-28"]]


def test_a_long_name_and_a_table_that_is_not_ours_lose_nothing(remedi: Command, postgres: Postgres, table: str) -> None:
    long, fits = "n" * 63, "f" * 46
    postgres.query(f"CREATE TABLE {long} AS SELECT 1 AS mine")
    for name in (long, long + "x", "n" * 47):
        done = hand_over(remedi, postgres, table, name)
        assert done.code == 2, done.err
        assert "expected at most 46" in done.message
    assert postgres.query(f"SELECT mine FROM {long}") == [["1"]]
    postgres.query(f"CREATE TABLE {fits}_staging_deadbeef AS SELECT 1 AS mine")
    assert hand_over(remedi, postgres, table, fits).code == 0
    assert postgres.query(f"SELECT mine FROM {fits}_staging_deadbeef") == [["1"]]
    assert leftovers(postgres, fits) == [[f"{fits}_staging_deadbeef"]]
    assert postgres.query(f"SELECT count(*) FROM {fits}_latest") == [[str(ROWS)]]


def test_the_zero_character_becomes_one_that_postgresql_holds(
    remedi: Command, postgres: Postgres, spark: Any, tmp_path: Path
) -> None:
    scores = make_scores(spark, 50)
    odd = {
        "owner_id": F.when(F.col("rank") == 7, F.lit("o\x00\U0001f600")).otherwise(F.col("owner_id")),
        "reasons": F.transform("reasons", lambda one: one.withField("value", F.lit("a\x00b\\u0000"))),
    }
    done = hand_over(remedi, postgres, store(scores.withColumns(odd), tmp_path / "zero"), "zero")
    assert changed(done) == 50
    assert "owner_id (1 rows), reasons (5 rows)" in done.err
    assert postgres.query("SELECT owner_id FROM zero WHERE rank = 7") == [["o\ufffd\U0001f600"]]
    assert postgres.query("SELECT DISTINCT reasons->0->>'value' FROM zero WHERE in_top_k") == [["a\ufffdb\\u0000"]]
    assert leftovers(postgres, "zero") == []


def test_something_else_beside_the_target_is_refused(remedi: Command, postgres: Postgres, table: str) -> None:
    postgres.query("CREATE TABLE taken_loads (mine int)")
    done = hand_over(remedi, postgres, table, "taken")
    assert done.code == 2
    assert "taken_loads: no column 'run_id'" in done.message
    postgres.query("CREATE TABLE seen_latest (mine int)")
    done = hand_over(remedi, postgres, table, "seen")
    assert done.code == 2, done.err
    assert "something else has this name" in done.message
    assert postgres.query("SELECT to_regclass('seen') IS NULL") == [["t"]]


REFUSALS: dict[str, tuple[str, tuple[str, ...]]] = {
    "a column of another type": ("CREATE TABLE {0} (owner_id bigint)", ("'owner_id' is bigint", "expected text")),
    "a column missing": ("CREATE TABLE {0} (owner_id text)", ("no column 'snapshot_date' (date)",)),
    "no key": (
        "CREATE TABLE {0} AS SELECT * FROM refused_good WHERE false", ("primary key (none)", "'--table'"),
    ),
    "a column that takes no null": (
        "CREATE TABLE {0} (LIKE refused_good INCLUDING ALL, extra int NOT NULL)", ("'extra'", "takes no null"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS)
def test_a_target_with_another_schema(case: str, remedi: Command, postgres: Postgres, table: str) -> None:
    if not postgres.query("SELECT 1 FROM pg_tables WHERE tablename = 'refused_good'"):
        assert hand_over(remedi, postgres, table, "refused_good").code == 0
    name = "refused_" + case.replace(" ", "_")
    sql, words = REFUSALS[case]
    postgres.query(sql.format(name))
    done = hand_over(remedi, postgres, table, name)
    assert done.code == 2, done.err
    for word in words:
        assert word.strip("'") in done.message, done.message
    assert postgres.query(f"SELECT count(*) FROM {name}") == [["0"]]
    assert leftovers(postgres, name) == []


def test_wrong_password_and_server_down_and_wrong_names(
    remedi: Command, postgres: Postgres, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(url: str, *words: str, target: str = "nowhere") -> None:
        done = remedi("export", "--scores", table, "--jdbc", url, "--table", target)
        assert done.code == 2, done.err
        assert "Traceback" not in done.err
        assert "wr0ng-secret" not in done.out + done.err
        assert SECRET not in done.out + done.err
        for word in words:
            assert word in done.message, done.message

    refused(postgres.url.replace("/postgres", "/nothing"), "no such database")
    refused(postgres.url, "no such schema", target="nowhere.scores")
    refused(postgres.url, "expected TABLE or SCHEMA.TABLE", target="a; DROP TABLE b")
    refused("jdbc:mysql://host/db", "expected postgresql:")
    refused(postgres.url + "?user=remedi&password=wr0ng-secret", PASSWORD)
    refused(postgres.url + "?sslmode=verify-full&sslPassword=wr0ng-secret", PASSWORD)
    monkeypatch.setenv(PASSWORD, "wr0ng-secret")
    refused(postgres.url, "password refused", PASSWORD)
    refused("jdbc:postgresql://127.0.0.1:9/postgres", "cannot connect")


def test_a_disk_that_fills_up_in_the_middle(
    remedi: Command, postgres: Postgres, table: str, spark: Any, tmp_path: Path
) -> None:
    """The server may write no file above 2 MB: what it then gets from the system is what a full disk gives."""
    assert hand_over(remedi, postgres, table, "filling").code == 0
    before = content(postgres, "filling")
    large = store(make_scores(spark, 40_000), tmp_path / "large")
    postgres.limit_files("2000000")
    try:
        done = hand_over(remedi, postgres, large, "filling")
    finally:
        postgres.limit_files("unlimited")
    assert done.code == 2, done.err
    assert "disk is full" in done.message
    assert content(postgres, "filling") == before
    done = hand_over(remedi, postgres, large, "filling")
    assert done.code == 0, done.err
    assert postgres.query("SELECT count(*) FROM filling") == [["40000"]]
    assert leftovers(postgres, "filling") == []


def test_two_exports_to_a_table_do_not_mix(remedi: Command, postgres: Postgres, table: str) -> None:
    lock = "SELECT pg_advisory_lock(hashtext('remedi export'), hashtext('\"public\".\"busy\"')), pg_sleep(60)"
    other = threading.Thread(target=lambda: _ignore(postgres, lock), daemon=True)
    other.start()
    while not postgres.query("SELECT 1 FROM pg_locks WHERE locktype = 'advisory'"):
        time.sleep(0.05)
    done = hand_over(remedi, postgres, table, "busy")
    postgres.query("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
    assert done.code == 2
    assert "another export" in done.message


def _ignore(postgres: Postgres, sql: str) -> None:
    try:
        postgres.query(sql)
    except AssertionError:
        return


def test_a_connection_lost_in_the_merge_changes_nothing(remedi: Command, postgres: Postgres, table: str) -> None:
    """A lock of ours holds the merge up; then its connection is ended."""
    assert hand_over(remedi, postgres, table, "lost").code == 0
    postgres.query("UPDATE lost SET score = score / 2")
    before = content(postgres, "lost")
    holder = threading.Thread(
        target=lambda: _ignore(postgres, "BEGIN; LOCK TABLE lost IN SHARE MODE; SELECT pg_sleep(60)"), daemon=True
    )
    holder.start()

    def end() -> None:
        waiting = (
            "FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'INSERT INTO \"public\".\"lost\"%'"
        )
        while not postgres.query(f"SELECT pid {waiting}"):
            time.sleep(0.05)
        postgres.query(f"SELECT pg_terminate_backend(pid) {waiting}")

    killer = threading.Thread(target=end, daemon=True)
    killer.start()
    done = hand_over(remedi, postgres, table, "lost")
    killer.join(30)
    postgres.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE query LIKE '%pg_sleep(60)%' AND pid <> pg_backend_pid()"
    )
    assert done.code == 2, done.err
    assert content(postgres, "lost") == before
    assert changed(hand_over(remedi, postgres, table, "lost")) == ROWS


@pytest.mark.slow
def test_killed_in_the_middle_and_repeated(remedi: Command, postgres: Postgres, spark: Any, tmp_path: Path) -> None:
    """SIGKILL while the executors stage rows: the target is as it was; the repetition brings every row, once."""
    table = store(make_scores(spark, 200_000).repartition(12), tmp_path / "many")
    command = [sys.executable, "-m", "remedi_spark.cli", "export", "--scores", table, "--jdbc", postgres.url,
               "--table", "killed", "--set", "spark.master=local[1]", "--set", "spark.driver_memory=1g"]  # fmt: skip
    run = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    staged = "SELECT sum(n_tup_ins) FROM pg_stat_user_tables WHERE relname LIKE 'killed_staging%'"
    deadline = time.monotonic() + 300
    while not (postgres.query(staged)[0][0] or "0") > "0":
        assert run.poll() is None, "it ended before it was killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    while postgres.query("SELECT 1 FROM pg_stat_activity WHERE application_name = 'remedi export'"):
        time.sleep(0.1)
    assert len(leftovers(postgres, "killed")) == 1
    assert postgres.query("SELECT count(*) FROM killed") == [["0"]]
    done = hand_over(remedi, postgres, table, "killed")
    assert done.code == 0, done.err
    assert postgres.query("SELECT count(*), count(DISTINCT owner_id) FROM killed_latest") == [["200000", "200000"]]
    assert leftovers(postgres, "killed") == []
