"""Scores as files: what the manifest says is what stands there, for readers without Spark; nothing is half-replaced."""

from __future__ import annotations

import hashlib
import json
import os
import resource
from datetime import UTC, date
from pathlib import Path
from typing import Any

import deltalake
import duckdb
import pandas as pd
import pyarrow as pa
import pytest
from pyspark.sql import functions as F

from remedi_spark.delivery import files
from remedi_spark.delivery.selection import reasons_as_text, select_rows
from remedi_spark.errors import InputError
from remedi_spark.scoring.scores_schema import COMMENTS, CONTRACT, NAMES, VERSION
from tests.cli.conftest import Command
from tests.exports.conftest import later, make_scores, store

ROWS = 1_000
TYPES = {
    "owner_id": pa.string(), "snapshot_date": pa.date32(), "score": pa.float64(), "rank": pa.int64(),
    "percentile": pa.float64(), "decile": pa.int32(), "in_top_k": pa.bool_(),
    "reasons": pa.list_(
        pa.struct(
            {"feature": pa.string(), "value": pa.string(), "contribution": pa.float64(), "text": pa.string()}
        )
    ),
    "model_version": pa.string(), "run_id": pa.string(), "scored_at": pa.timestamp("us", tz="UTC"),
}  # fmt: skip


@pytest.fixture(scope="module")
def table(spark: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two snapshots; the latest has fewer rows."""
    first = make_scores(spark, ROWS)
    both = first.unionByName(later(first, 28).where("rank <= 900"))
    return store(both, tmp_path_factory.mktemp("scores") / "scores")


def export(remedi: Command, table: str, out: Path, *more: str) -> dict[str, Any]:
    done = remedi("export", "--scores", table, "--out", out, *more)
    assert done.code == 0, done.err
    manifest: dict[str, Any] = json.loads((out / "manifest.json").read_text())
    return manifest


def test_readers_without_spark_read_the_delta_table(table: str, spark: Any) -> None:
    """deltalake (Rust) and DuckDB find the types and rows that Spark finds."""
    delta = deltalake.DeltaTable(table)
    found = delta.to_pyarrow_table()
    assert {field.name: _large(field.type) for field in found.schema} == TYPES
    rows = reasons_as_text(spark.read.format("delta").load(table)).orderBy("snapshot_date", "rank")
    expected = dict(zip(NAMES, zip(*rows.collect(), strict=True), strict=True))
    got = found.sort_by([("snapshot_date", "ascending"), ("rank", "ascending")])
    for name in NAMES:
        ours, theirs = list(expected[name]), got.column(name).to_pylist()
        if name == "reasons":
            ours = [None if text is None else json.loads(text) for text in ours]
        if name == "scored_at":
            ours = [moment.astimezone(UTC) for moment in ours]
        assert ours == theirs, name
    counts = duckdb.from_arrow(found).query(
        "t", "SELECT snapshot_date, count(*), sum(score) FROM t GROUP BY 1 ORDER BY 1"
    )
    by_spark = spark.sql(f"SELECT snapshot_date, count(*), sum(score) FROM delta.`{table}` GROUP BY 1 ORDER BY 1")
    for one, other in zip(counts.fetchall(), by_spark.collect(), strict=True):
        assert one[:2] == tuple(other)[:2]
        assert one[2] == pytest.approx(other[2])
    comments = {field["name"]: field["metadata"]["comment"] for field in json.loads(delta.schema().to_json())["fields"]}
    assert comments == COMMENTS


def _large(kind: pa.DataType) -> pa.DataType:
    """Readers may choose the large or view variant of text and lists: the same values."""
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(_large(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct({field.name: _large(field.type) for field in kind})
    return pa.string() if kind in (pa.large_string(), pa.string_view()) else kind


def test_parquet_and_its_manifest(table: str, remedi: Command, tmp_path: Path) -> None:
    manifest = export(remedi, table, tmp_path / "out", "--snapshot", "all")
    folder = tmp_path / "out" / manifest["folder"]
    assert (manifest["contract"], manifest["rows"]) == (VERSION, ROWS + 900)
    assert [column["name"] for column in manifest["columns"]] == list(NAMES)
    assert {path.name for path in folder.iterdir()} == {file["name"] for file in manifest["files"]}
    for file in manifest["files"]:
        content = (folder / file["name"]).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (file["bytes"], file["sha256"])
    assert sum(file["rows"] for file in manifest["files"]) == manifest["rows"]
    by_slice = {one["snapshot_date"]: one["rows"] for one in manifest["slices"]}
    found = duckdb.sql(f"SELECT snapshot_date, count(*) FROM '{folder}/*.parquet' GROUP BY 1")
    assert {str(day): count for day, count in found.fetchall()} == by_slice
    kinds = dict(duckdb.sql(f"SELECT column_name, column_type FROM (DESCRIBE FROM '{folder}/*.parquet')").fetchall())
    assert kinds == {
        "owner_id": "VARCHAR", "snapshot_date": "DATE", "score": "DOUBLE", "rank": "BIGINT", "percentile": "DOUBLE",
        "decile": "INTEGER", "in_top_k": "BOOLEAN",
        "reasons": "STRUCT(feature VARCHAR, \"value\" VARCHAR, contribution DOUBLE, \"text\" VARCHAR)[]",
        "model_version": "VARCHAR",
        "run_id": "VARCHAR", "scored_at": "TIMESTAMP WITH TIME ZONE",
    }  # fmt: skip


def test_csv_reads_back(table: str, remedi: Command, tmp_path: Path, spark: Any) -> None:
    manifest = export(remedi, table, tmp_path / "out", "--format", "csv")
    assert manifest["rows"] == 900, "the latest snapshot by default"
    parts = sorted((tmp_path / "out" / manifest["folder"]).glob("*.csv"))
    found = pd.concat(pd.read_csv(part) for part in parts).sort_values("rank")
    latest = spark.read.format("delta").load(table).where("snapshot_date = '2026-02-28'").orderBy("rank").toPandas()
    assert found["owner_id"].tolist() == latest["owner_id"].tolist()
    assert found["score"].to_numpy() == pytest.approx(latest["score"].to_numpy())
    reasons = [json.loads(text) for text in found["reasons"].dropna()]
    assert [row[0] for row in reasons] == [dict(row[0]) for row in latest["reasons"].dropna()]
    days = export(remedi, table, tmp_path / "days", "--snapshot", "2026-01-01..2026-01-31")
    assert [one["snapshot_date"] for one in days["slices"]] == [str(date(2026, 1, 31))]


def test_scores_of_the_contract_before_have_reasons_without_a_text(
    table: str, remedi: Command, tmp_path: Path, spark: Any
) -> None:
    scores = spark.read.format("delta").load(table)
    first = scores.withColumn("reasons", F.transform("reasons", lambda one: one.dropFields("text")))
    manifest = export(remedi, store(first, tmp_path / "first"), tmp_path / "out", "--snapshot", "all")
    found = spark.read.parquet(str(tmp_path / "out" / manifest["folder"]))
    assert found.schema["reasons"].dataType == scores.schema["reasons"].dataType
    explained = found.where("reasons IS NOT NULL")
    assert explained.count() == scores.where("reasons IS NOT NULL").count() > 0
    assert explained.where("reasons[0].text IS NOT NULL OR reasons[0].contribution <> 0.0125").count() == 0


def test_an_export_replaces_the_former_one_in_one_step(table: str, remedi: Command, tmp_path: Path) -> None:
    out = tmp_path / "out"
    folders = [export(remedi, table, out)["folder"] for _ in range(3)]
    assert {path.name for path in out.iterdir()} == {"manifest.json", *folders[1:]}, "the former one is kept, no other"


def test_an_export_removes_nothing_that_it_did_not_write(table: str, remedi: Command, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = export(remedi, table, out)
    foreign, running, killed = "20250101T000000-abcdef", "20250102T000000-abcdef", "20250103T000000-abcdef"
    for name in ("archive", foreign, running, killed):
        (out / name).mkdir()
        (out / name / "rows.parquet").write_text("rows")
    for name in (running, killed):  # an export that runs at the same time, and one that was killed days ago
        (out / f".{name}.begun").touch()
    os.utime(out / f".{killed}.begun", (0, 0))
    folders = [export(remedi, table, out)["folder"] for _ in range(2)]
    assert {path.name for path in out.iterdir()} == {
        "manifest.json", "archive", foreign, running, f".{running}.begun", *folders
    }  # fmt: skip
    assert first["folder"] not in folders


def test_csv_keeps_ids_whole_and_computes_nothing(remedi: Command, tmp_path: Path, spark: Any) -> None:
    ids = [
        "  padded  ",
        "00017",
        '"quoted"',
        "a,b",
        "line\nbreak",
        "back\\",
        "=1+1",
        "-7",
        "+4.5e3",
        "-7x",
        "@cmd",
        "\t=1",
    ]
    scores = make_scores(spark, len(ids))
    named = F.element_at(F.array(*[F.lit(one) for one in ids]), F.col("rank").cast("int"))
    table = store(scores.withColumn("owner_id", named), tmp_path / "odd")
    for more, escaped in (((), True), (("--set", "scores.escape_formulas=false"), False)):
        out = tmp_path / f"out{escaped}"
        manifest = export(remedi, table, out, "--format", "csv", *more)
        parts = sorted((out / manifest["folder"]).glob("*.csv"))
        found = pd.concat(pd.read_csv(part, dtype=str, keep_default_na=False) for part in parts)
        found = found.sort_values("rank", key=lambda ranks: ranks.astype(int))
        computed = {"=1+1", "-7x", "@cmd", "\t=1"}
        assert found["owner_id"].tolist() == ["'" + one if escaped and one in computed else one for one in ids]


def test_a_folder_that_spark_finds_elsewhere_is_refused(
    table: str, tmp_path: Path, spark: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the default file system is HDFS: what Spark writes there, this process does not see."""
    monkeypatch.setattr(files.Files, "write", lambda *_: None)
    with pytest.raises(InputError, match="which this process does not see"):
        files.export_files(select_rows(spark, table, CONTRACT), table, tmp_path / "out", "parquet")
    assert not any((tmp_path / "out").glob("2*"))
    with pytest.raises(InputError, match="of 900 rows this process finds 0 there"):
        files._require_whole({"part-0.parquet": 900}, set(), files.Files.at(tmp_path, "output"), 900)


def test_a_disk_that_fills_up_leaves_the_former_export(table: str, remedi: Command, tmp_path: Path, spark: Any) -> None:
    """The JVM may write no file above 20 kB: what it then gets from the system is what a full disk gives."""
    out = tmp_path / "out"
    before = export(remedi, table, out)
    large = store(make_scores(spark, 20_000).coalesce(1), tmp_path / "large")
    jvm = int(spark._jvm.java.lang.ProcessHandle.current().pid())
    kept = resource.prlimit(jvm, resource.RLIMIT_FSIZE)
    resource.prlimit(jvm, resource.RLIMIT_FSIZE, (20_000, kept[1]))
    try:
        done = remedi("export", "--scores", large, "--out", out)
    finally:
        resource.prlimit(jvm, resource.RLIMIT_FSIZE, kept)
    assert done.code == 2, done.err
    assert os.strerror(27) in done.message
    assert "stands as it was" in done.message
    assert json.loads((out / "manifest.json").read_text()) == before
    assert {path.name for path in out.iterdir()} == {"manifest.json", before["folder"]}


def test_what_is_no_scores_table_and_no_export_is_refused(
    table: str, remedi: Command, tmp_path: Path, spark: Any
) -> None:
    def refused(*arguments: Any, words: str) -> None:
        done = remedi("export", *arguments)
        assert done.code == 2, done.err
        assert words in done.message, done.message

    (tmp_path / "notes.txt").write_text("mine")
    refused("--scores", table, "--out", tmp_path, words="is not an export")
    refused("--scores", table, words="exactly one of --out")
    refused(
        "--scores", table, "--out", tmp_path / "o", "--snapshot", "2020-01-01", words="it has 2026-01-31 to 2026-02-28"
    )
    refused("--scores", table, "--out", tmp_path / "o", "--format", "xml", words="expected parquet or csv")
    other = store(spark.range(3).withColumnRenamed("id", "owner_id"), tmp_path / "other")
    refused("--scores", other, "--out", tmp_path / "o", words="no column 'snapshot_date'")
    assert not (tmp_path / "o").exists()
