"""What the JVM prints when it starts goes to a file, so that standard output holds results alone."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest

from remedi_spark.config.spark import SparkConfig
from remedi_spark.spark.starting import jvm_log


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_both_streams_go_to_the_log_and_come_back(log: Path, capfd: pytest.CaptureFixture[str]) -> None:
    print("before")
    with pytest.raises(RuntimeError, match="no Java"), jvm_log(SparkConfig()):
        os.write(1, b":: loading settings\n")
        os.write(2, b"WARN Utils\n")
        raise RuntimeError("no Java")
    os.write(1, b"result\n")
    os.write(2, b"progress\n")
    (file,) = log.iterdir()
    assert file.read_text() == ":: loading settings\nWARN Utils\n"
    assert file.name != f"remedi-spark-{os.getpid()}.log", "a name to guess is a link to plant"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    found = capfd.readouterr()
    assert found.out == "before\nresult\n"
    assert found.err == "progress\n"


def test_who_asks_for_more_sees_it(log: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with jvm_log(SparkConfig(log_level="INFO")):
        os.write(1, b"told\n")
    assert capfd.readouterr().out == "told\n"
    assert not list(log.iterdir())
