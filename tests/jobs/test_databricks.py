"""On each target the bundle's job is one that Databricks' own models accept, and runs the stages in their order."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from databricks.bundles.dashboards import Dashboard
from databricks.bundles.jobs import Environment, Job, JobCluster, JobEnvironment, Task
from typer.testing import CliRunner

from remedi_spark.cli.verbs import app
from remedi_spark.flow import verbs
from remedi_spark.scoring.monitoring.history import to_frame
from remedi_spark.scoring.monitoring.measures import Measure, Scored
from remedi_spark.scoring.monitoring.nights import COLUMNS, SCHEMA
from remedi_spark.spark.builds import BUILDS
from remedi_spark.spark.local_rows import local_rows

ROOT = Path(__file__).parents[2]
TREE: dict[str, Any] = yaml.safe_load((ROOT / "databricks.yml").read_text())
RUNTIMES = {
    "dev": "16.4.x-scala2.12", "runtime_17": "17.3.x-scala2.13", "runtime_18": "18.x-scala2.13",
    "prod": "16.4.x-scala2.12",
}  # fmt: skip
TARGETS = (*RUNTIMES, "serverless")


def merged(target: str) -> Job:
    """Return the job of a target: its keys over the job's own, tasks joined by their key."""
    tree, over = deepcopy(TREE["resources"]["jobs"]["remedi"]), TREE["targets"][target]["resources"]["jobs"]["remedi"]
    more = {task["task_key"]: task for task in over["tasks"]}
    assert set(more) == {task["task_key"] for task in tree["tasks"]}, "a task more would be another task"
    own = tree["tasks"]
    assert not any(set(task) & (set(more[task["task_key"]]) - {"task_key"}) for task in own), "lists would be joined"
    tree = {**tree, **over, "tasks": [{**task, **more[task["task_key"]]} for task in own]}
    values = {name: one.get("default", "found when it is deployed") for name, one in TREE["variables"].items()}
    return Job.from_dict(resolved(tree, values | TREE["targets"][target].get("variables", {})))


def resolved(tree: Any, values: dict[str, Any]) -> Any:
    """Return a tree with the values of its variables."""
    if isinstance(tree, dict):
        return {key: resolved(one, values) for key, one in tree.items()}
    if isinstance(tree, list):
        return [resolved(one, values) for one in tree]
    if not isinstance(tree, str):
        return tree
    alone = re.fullmatch(r"\$\{var\.(\w+)\}", tree)
    return values[alone[1]] if alone else re.sub(r"\$\{var\.(\w+)\}", lambda found: str(values[found[1]]), tree)


@pytest.fixture(params=TARGETS)
def target(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def job(target: str) -> Job:
    return merged(target)


def tasks(job: Job) -> list[Task]:
    return [task for task in job.tasks if isinstance(task, Task)]


def parameters(task: Task) -> list[str]:
    assert task.python_wheel_task is not None
    words = task.python_wheel_task.parameters  # type: ignore[union-attr]
    return [str(word).replace("{{task.name}}", str(task.task_key)) for word in words]  # type: ignore[union-attr]


def libraries(job: Job, kind: str) -> list[Any]:
    return [getattr(one, kind) for task in tasks(job) for one in task.libraries if getattr(one, kind, None)]


def test_one_task_a_stage_in_their_order(job: Job) -> None:
    assert [parameters(task)[0] for task in tasks(job)] == list(verbs())
    before = None
    for task in tasks(job):
        assert [one.task_key for one in task.depends_on] == ([before] if before else [])  # type: ignore[union-attr]
        before = task.task_key


def test_every_task_takes_the_same_options_and_the_verb_has_them() -> None:
    job = merged("dev")
    options = {tuple(parameters(task)[1:]) for task in tasks(job)}
    assert len(options) == 1
    for stage in verbs():
        told = CliRunner().invoke(app, [stage, "--help"]).stdout
        assert all(word in told for word in options.copy().pop() if word.startswith("--")), stage


@pytest.mark.parametrize("target", RUNTIMES)
def test_each_cluster_has_its_runtime_and_synapseml_only_where_there_is_a_build(job: Job, target: str) -> None:
    clusters = [one for one in job.job_clusters if isinstance(one, JobCluster)]
    assert {task.job_cluster_key for task in tasks(job)} == {clusters[0].job_cluster_key}
    assert len(clusters) == 1
    cluster: Any = clusters[0].new_cluster
    assert cluster.spark_conf["spark.speculation"] == "false"
    assert cluster.spark_version == RUNTIMES[target]
    scala = RUNTIMES[target].rpartition("scala")[2]
    fits = {build.synapseml for build in BUILDS if build.scala == scala and build.synapseml}
    assert {one.coordinates for one in libraries(job, "maven")} == fits  # the runtime has Delta
    assert set(libraries(job, "whl")) == {"./dist/*.whl"}
    assert not job.environments


@pytest.mark.parametrize("target", ["serverless"])
def test_serverless_has_an_environment_and_neither_cluster_nor_library(job: Job) -> None:
    assert not job.job_clusters
    environments = [one for one in job.environments if isinstance(one, JobEnvironment)]
    assert len(environments) == 1
    assert {task.environment_key for task in tasks(job)} == {environments[0].environment_key}
    assert not any(task.libraries or task.job_cluster_key or task.new_cluster for task in tasks(job))
    spec = environments[0].spec
    assert isinstance(spec, Environment)
    assert (spec.environment_version, spec.client) == ("5", None)
    assert spec.dependencies == ["./dist/*.whl"]


def test_every_variable_and_parameter_that_is_used_is_declared() -> None:
    text = (ROOT / "databricks.yml").read_text()
    assert set(re.findall(r"\$\{var\.(\w+)\}", text)) == set(TREE["variables"])
    declared = {one["name"] for one in TREE["resources"]["jobs"]["remedi"]["parameters"]}
    assert set(re.findall(r"\{\{job\.parameters\.(\w+)\}\}", text)) == declared
    assert (ROOT / TREE["variables"]["config"]["default"]).exists()
    assert set(TREE["targets"]) == set(TARGETS)
    assert all(set(one.get("variables", {})) <= set(TREE["variables"]) for one in TREE["targets"].values())


def test_names_are_those_of_unity_catalog() -> None:
    job = merged("prod")
    names = {one.name: one.default for one in job.parameters}  # type: ignore[union-attr]
    assert names["root"] == "main.remedi"
    assert names["bundle"] == "/Volumes/main/remedi/models/remedi"
    assert names["model"] == "main.remedi.remedi"
    assert str(names["experiment"]).startswith("/"), "a path of the workspace"


def test_the_dashboard_is_one_and_asks_for_what_the_tables_have(spark: Any) -> None:
    tree = resolved(TREE["resources"]["dashboards"]["nights"], {"catalog": "main", "schema": "s", "warehouse": "w"})
    dashboard = Dashboard.from_dict(tree)
    assert (dashboard.dataset_catalog, dashboard.dataset_schema) == ("main", "s")
    content = json.loads((ROOT / str(dashboard.file_path)).read_text())
    at = datetime(2026, 3, 1, tzinfo=UTC)
    measures = [
        Measure("table", "rows", "rows", 10), Measure("feature", "f", "recall_lost", 0.2),
        Measure("estimated", "2026-01-01 m1", "recall_at_k", 0.5, low=0.4, high=0.6),
        Measure("realised", "2025-12-01 m1", "recall_at_k", 0.7),
    ]  # fmt: skip
    runs = [Scored("t", "2026-01-01", "m1", "r", at - timedelta(days=i), measures[: 3 + i]) for i in range(2)]
    to_frame(spark, runs).createOrReplaceTempView("monitoring")
    local_rows(spark, [dict.fromkeys(COLUMNS)], SCHEMA).createOrReplaceTempView("nights")
    found = {one["name"]: spark.sql("".join(one["queryLines"])) for one in content["datasets"]}
    for place in content["pages"][0]["layout"]:
        query = place["widget"]["queries"][0]["query"]
        rows = found[query["datasetName"]]
        for one in query.get("filters", []):
            rows = rows.where(one["expression"])
        assert rows.select(*[one["name"] for one in query["fields"]]).columns
    told = {(str(row["snapshot"]), row["series"]): row["figure"] for row in found["figures"].collect() if row["figure"]}
    assert told == {
        ("2026-01-01", "estimated"): 0.5, ("2026-01-01", "low"): 0.4, ("2026-01-01", "high"): 0.6,
        ("2025-12-01", "realised"): 0.7,
    }  # fmt: skip
    assert [row["owners"] for row in found["volume"].collect()] == [10]


def test_it_is_a_bundle_of_the_direct_engine() -> None:
    assert TREE["bundle"]["engine"] == "direct"
    unknown = {key for key in TREE if not key.startswith("x-")} - {
        "bundle",
        "variables",
        "artifacts",
        "resources",
        "targets",
    }
    assert not unknown
