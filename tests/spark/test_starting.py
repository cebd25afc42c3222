"""Sessions that start at the same time fetch jars one after the other, and a JVM that ends says why."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from remedi_spark.config.spark import SparkConfig
from remedi_spark.errors import InputError
from remedi_spark.spark.starting import starting

JARS = "io.delta:delta-spark_2.12:3.3.3"


def test_the_first_sessions_of_a_machine_start_one_after_the_other(tmp_path: Path) -> None:
    inside: list[str] = []

    def start(name: str) -> None:
        with starting(SparkConfig(log_level="INFO"), JARS, tmp_path / "ivy"):
            inside.append(f"{name} in")
            time.sleep(0.3)
            inside.append(f"{name} out")

    threads = [threading.Thread(target=start, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one[0] for one in inside] in (list("aabb"), list("bbaa"))


def test_later_ones_wait_for_nobody(tmp_path: Path) -> None:
    config = SparkConfig(log_level="INFO")
    with starting(config, JARS, tmp_path):
        pass
    with starting(config, JARS, tmp_path), starting(config, JARS, tmp_path):
        pass


def test_a_start_that_failed_is_none(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), starting(SparkConfig(), JARS, tmp_path):
        raise RuntimeError("JAVA is not there")
    assert not list(tmp_path.glob(".remedi-*"))


def test_where_nothing_may_be_written_a_session_starts_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with starting(SparkConfig(), JARS, tmp_path / "file" / "ivy"):
        pass


@pytest.mark.slow
@pytest.mark.parametrize(
    ("setting", "told"),
    [
        (
            'spark.packages=["no.such:thing:1.0"]',
            ("unresolved dependency: no.such#thing;1.0", "spark.jars.ivySettings"),
        ),
        ("spark.driver_memory=900t", ("heap", "lower spark.driver_memory")),
    ],
)
def test_a_jvm_that_ends_says_why(tmp_path: Path, setting: str, told: tuple[str, ...]) -> None:
    (tmp_path / "owners.csv").write_text("id,label,x\n1,0,2\n")
    command = [sys.executable, "-m", "remedi_spark.cli", "train", "--table", "owners.csv", "--label", "label",
               "--id", "id", "--model", "model", "--set", setting]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    line = done.stderr.strip().splitlines()[-1]
    assert all(part in line for part in ("Spark: its JVM ended before it was ready", *told)), line


def test_other_failures_are_raised_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="disk"), starting(SparkConfig(), "", tmp_path):
        raise RuntimeError("disk full")
    with pytest.raises(InputError, match="its own lines say why"), starting(SparkConfig(), "", tmp_path):
        raise RuntimeError("[JAVA_GATEWAY_EXITED] Java gateway process exited before sending its port number.")
