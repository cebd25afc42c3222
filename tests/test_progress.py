"""Logs that a machine can read, with the run's id; failures that say how to go on; no secret in either."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from remedi_spark import progress
from remedi_spark.cli import main
from remedi_spark.errors import InputError, cause, doing
from remedi_spark.redaction import redact


@pytest.fixture(autouse=True)
def _logging() -> Iterator[None]:
    kept = list(progress.LOGGER.handlers)
    yield
    progress.LOGGER.handlers[:] = kept


def events(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_json_lines_carry_run_stage_and_facts(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(progress.RUN_ID_VARIABLE, "job-17")
    progress.begin_run()
    progress.log_to_stderr(style="json")
    progress.log("scores", "ten owners of Łódź", rows=10)
    progress.warn("scores", "look")
    with progress.timed("student", {}):
        pass
    found = events(capsys.readouterr().err)
    assert [one["stage"] for one in found] == ["scores", "scores", "student", "student"]
    assert {one["run_id"] for one in found} == {"job-17"}
    assert (found[0]["message"], found[0]["rows"], found[0]["level"]) == ("ten owners of Łódź", 10, "info")
    assert found[1]["level"] == "warning"
    assert "seconds" in found[3]
    monkeypatch.delenv(progress.RUN_ID_VARIABLE)
    assert len({progress.begin_run() for _ in range(3)}) == 3


@pytest.mark.parametrize("style", ["text", "json"])
def test_a_failure_names_stage_unit_cause_and_how_to_go_on(style: str, capsys: pytest.CaptureFixture[str]) -> None:
    progress.log_to_stderr(style=style)
    spark_says = "Job aborted.\n  at x.y(Z.java:1)\nCaused by: java.io.IOException: No space left on device\n  at q"
    with pytest.raises(RuntimeError) as raised, progress.timed("student", {}), doing(unit="student"):
        raise RuntimeError(spark_says)
    capsys.readouterr()
    progress.log_failure(raised.value, "remedi run --config 'a b.yaml'")
    told = capsys.readouterr().err
    if style == "json":
        (event,) = events(told)
        assert (event["stage"], event["unit"], event["level"]) == ("student", "student", "error")
        assert event["message"] == "java.io.IOException: No space left on device"
        assert event["resume"] == "remedi run --config 'a b.yaml'"
        assert "Traceback" in str(event["trace"])
    else:
        line = told.strip().splitlines()[-1]
        for words in ("stage student, unit student", "No space left on device", "remedi run --config 'a b.yaml'"):
            assert words in line


def test_input_errors_are_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--log-format", "json", "config", "--set", "seeed=1"])
    assert stop.value.code == 2
    (event,) = events(capsys.readouterr().err)
    assert "'seed'" in str(event["message"])
    assert event["level"] == "error"


def test_secrets_are_not_told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABRICKS_TOKEN", "dapi0123456789")
    text = "jdbc:postgresql://ann:pa55@db/x?user=ann&password=s3cr3t sent dapi0123456789, api_key: 'abc123' by ann"
    hidden = redact(text)
    for secret in ("pa55", "s3cr3t", "dapi0123456789", "abc123"):
        assert secret not in hidden
    assert hidden.count("ann") >= 3
    assert redact("model f00: changed since training") == "model f00: changed since training"
    monkeypatch.setenv("OLDPWD", "/data/models")
    assert redact("report: /data/models/report.html") == "report: /data/models/report.html"
    progress.log_to_stderr(style="json")
    progress.LOGGER.log(logging.ERROR, text)
    assert "s3cr3t" not in capsys.readouterr().err


def test_the_cause_is_the_last_named_exception() -> None:
    assert cause(ValueError("plain\nmore")) == "ValueError: plain"
    assert cause(RuntimeError("a.B: x\n  pkg.FirstError: one\n  at y\nCaused by: pkg.LastException: two")) == (
        "pkg.LastException: two"
    )
    lost = (
        "An error occurred while calling o1.collect.\n: org.apache.spark.SparkException: Job aborted\n"
        "ExecutorLostFailure (executor 0 exited) Reason: code 137\n\tat org.apache.spark.Foo(Foo.scala:1)"
    )
    assert cause(RuntimeError(lost)) == "ExecutorLostFailure (executor 0 exited) Reason: code 137"
    assert cause(RuntimeError("calling o1.collect.\n: a.SparkException: no\n\tat b")) == "a.SparkException: no"
    with pytest.raises(InputError) as raised, doing(stage="outer", unit="outer"), doing(unit="inner"):
        raise InputError("x")
    from remedi_spark.errors import failure_facts

    assert failure_facts(raised.value) == {"stage": "outer", "unit": "inner"}
