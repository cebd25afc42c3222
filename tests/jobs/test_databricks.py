"""The asset bundle's job is one that Databricks' own models accept, and runs the stages in their order."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from databricks.bundles.jobs import Job, Task
from typer.testing import CliRunner

from remedi_spark.cli.verbs import app
from remedi_spark.flow import verbs
from remedi_spark.spark.builds import BUILDS

ROOT = Path(__file__).parents[2]
TREE: dict[str, Any] = yaml.safe_load((ROOT / "databricks.yml").read_text())


@pytest.fixture(scope="module")
def job() -> Job:
    return Job.from_dict(TREE["resources"]["jobs"]["remedi"])


def tasks(job: Job) -> list[Task]:
    return [task for task in job.tasks if isinstance(task, Task)]


def parameters(task: Task) -> list[str]:
    assert task.python_wheel_task is not None
    return [str(word) for word in task.python_wheel_task.parameters]  # type: ignore[attr-defined]


def test_one_task_a_stage_in_their_order(job: Job) -> None:
    assert [parameters(task)[0] for task in tasks(job)] == list(verbs())
    before = None
    for task in tasks(job):
        assert [one.task_key for one in task.depends_on] == ([before] if before else [])  # type: ignore[union-attr]
        before = task.task_key


def test_every_task_takes_the_same_options_and_the_verb_has_them(job: Job) -> None:
    options = {tuple(parameters(task)[1:]) for task in tasks(job)}
    assert len(options) == 1
    for stage in verbs():
        told = CliRunner().invoke(app, [stage, "--help"]).stdout
        assert all(word in told for word in options.copy().pop() if word.startswith("--")), stage


def test_the_runtime_and_jar_are_those_that_the_package_is_built_for(job: Job) -> None:
    cluster = TREE["resources"]["jobs"]["remedi"]["job_clusters"][0]["new_cluster"]
    assert cluster["spark_version"].endswith("scala2.12")
    assert cluster["spark_conf"]["spark.speculation"] == "false"
    jars = {
        lib.maven.coordinates  # type: ignore[union-attr]
        for task in tasks(job)
        for lib in task.libraries
        if getattr(lib, "maven", None)
    }
    assert jars == {build.synapseml for build in BUILDS if build.spark == "3.5"}  # the runtime has Delta


def test_every_variable_and_parameter_that_is_used_is_declared() -> None:
    text = (ROOT / "databricks.yml").read_text()
    assert set(re.findall(r"\$\{var\.(\w+)\}", text)) == set(TREE["variables"])
    declared = {one["name"] for one in TREE["resources"]["jobs"]["remedi"]["parameters"]}
    assert set(re.findall(r"\{\{job\.parameters\.(\w+)\}\}", text)) == declared
    assert (ROOT / TREE["variables"]["config"]["default"]).exists()
    assert set(TREE["targets"]) == {"dev", "prod"}
