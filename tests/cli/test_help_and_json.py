"""What a stranger and a machine see: help with an example that holds, completion, results as JSON."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import typer
from typer.testing import CliRunner

import remedi_spark
from remedi_spark.cli.verbs import app
from remedi_spark.delivery.onnx_model import onnx_inputs
from tests.cli.conftest import Command, Trained


def verbs(group: Any = None, above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name, command in (group or typer.main.get_command(app)).commands.items():
        found += verbs(command, (*above, name)) if hasattr(command, "commands") else [(*above, name)]
    return found


@pytest.mark.parametrize("verb", verbs(), ids=" ".join)
def test_every_help_has_an_example_with_options_that_exist(verb: tuple[str, ...]) -> None:
    told = CliRunner().invoke(app, [*verb, "--help"], env={"COLUMNS": "100"}).stdout
    text = " ".join(told.split("Options:")[0].split())
    example = re.search(r"Example: remedi (.*)", text)
    assert example, f"no example in the help of {verb}"
    assert example.group(1).startswith(" ".join(verb))
    first = example.group(1).split(", then:")[0]
    for option in re.findall(r"(?<=\s)--[a-z][a-z-]*", first):
        assert re.search(rf"(?m)^\s+(?:-c, )?{option}\b", told), option


def test_every_summary_fits_the_list() -> None:
    listed = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "80"}).stdout.split("Commands:")[1]
    assert "..." not in listed


def test_the_shell_completes_verbs_and_options() -> None:
    def completed(words: str, at: int) -> str:
        environment = {**os.environ, "_REMEDI_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(at)}
        remedi = Path(sys.executable).with_name("remedi")
        return subprocess.run([remedi], env=environment, capture_output=True, text=True, check=False).stdout

    assert completed("remedi ba", 1).split() == ["base-models", "backtest"]
    assert "--origins" in completed("remedi backtest --o", 2)


def test_results_as_json(trained: Trained, remedi: Command) -> None:
    done = remedi("report", "--model", trained.bundle, "--json")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert told["models"] == json.loads((trained.bundle / "metrics.json").read_text())["models"]
    assert Path(told["report"]).exists()
    findings = json.loads(remedi("doctor", "--json").out)
    assert {"state", "what", "found", "fix"} == set(findings[0])


def test_the_report_opens_in_a_browser(trained: Trained, remedi: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(typer, "launch", opened.append)
    assert remedi("report", "--model", trained.bundle).code == 0
    assert opened == []
    assert remedi("report", "--model", trained.bundle, "--open").code == 0
    assert opened == [str(trained.bundle / "report.html")]


def test_a_trained_student_as_onnx(trained: Trained, remedi: Command, tmp_path: Path) -> None:
    done = remedi("export", "--onnx", tmp_path / "student.onnx", "--model", trained.bundle, "--json")
    assert done.code == 0, done.err
    told, bundle = json.loads(done.out), remedi_spark.load(trained.bundle)
    assert told["version"] == bundle.model_version
    session = onnxruntime.InferenceSession(told["onnx"])
    found = session.run(["score"], onnx_inputs(bundle.contract, trained.frame))[0]
    np.testing.assert_allclose(found, bundle.predict(trained.frame), rtol=0, atol=1e-5)
    assert "needs --model" in remedi("export", "--onnx", tmp_path / "other.onnx").message
