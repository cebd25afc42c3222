"""A real cluster of two workers: the packaged chain by spark-submit, and fits whose executor is killed."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from remedi_spark.scoring.bundle import load
from remedi_spark.spark.builds import installed_build, packages
from remedi_spark.storage.file_systems import Files
from tests.cli.conftest import WITH_ADDITIVE, Trained, train_arguments
from tests.cluster.standalone import PATIENCE, ROOT, Standalone, packaged_environment
from tests.object_store import EXCLUDED, PACKAGES, spark_settings

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
UNITS = ("lightgbm", "ring", "xgboost", "torch", "scoring")
WAITED = {"ring": 4.0}
"""Seconds from the first task to the loss, where that is in the middle: a ring is joined by a barrier of a second."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standalone]:
    with Standalone(tmp_path_factory.mktemp("cluster")) as started:
        yield started


@pytest.fixture(scope="module")
def packaged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return packaged_environment(tmp_path_factory.mktemp("packaged"))


def test_training_on_the_cluster_equals_training_in_one_process(
    cluster: Standalone, packaged: tuple[Path, Path], trained: Trained, tmp_path: Path
) -> None:
    # A table to measure on spares the phase in which models are only judged; what is shipped is the same.
    others = tmp_path / "others.parquet"
    trained.frame.tail(50).assign(owner=[f"other{i}" for i in range(50)]).to_parquet(others, coerce_timestamps="us")
    arguments = train_arguments(trained.table, tmp_path / "model", *WITH_ADDITIVE, "--test", str(others))
    job = cluster.submit(*packaged, str(ROOT / "jobs" / "train.py"), *arguments[1:])
    out, err = job.communicate(timeout=4 * PATIENCE)
    assert job.returncode == 0, (out[-1500:], err[-1500:])  # what the job writes to stderr is in either
    assert "student" in out

    mine, local = load(tmp_path / "model"), load(trained.bundle)
    canonical = mine.contract.canonical(trained.frame)
    # Nets are of single precision.
    np.testing.assert_allclose(mine.margin(canonical), local.margin(canonical), rtol=1e-5, atol=1e-6)


def test_driver_and_executors_need_share_no_more_than_a_bucket(
    cluster: Standalone, packaged: tuple[Path, Path], trained: Trained, bucket: str, tmp_path: Path
) -> None:
    """Table, test rows, tables of the training and model are on S3; the executors' Python knows no way there."""
    others = trained.frame.tail(50).assign(owner=[f"other{i}" for i in range(50)])
    for name, frame in {"owners": trained.frame, "others": others}.items():
        frame.to_parquet(tmp_path / name, coerce_timestamps="us")
        Files.at(bucket, "test").write(f"cluster/{name}.parquet", (tmp_path / name).read_bytes())
    model, table = f"{bucket}/cluster/model", f"{bucket}/cluster/owners.parquet"
    arguments = train_arguments(table, model, *WITH_ADDITIVE, "--test", f"{bucket}/cluster/others.parquet")
    given = {f"spark.hadoop.{key}": value for key, value in spark_settings(os.environ["AWS_ENDPOINT_URL"]).items()}
    words = [
        word
        for key, value in {**given, "spark.jars.excludes": EXCLUDED}.items()
        for word in ("--conf", f"{key}={value}")
    ]
    words += ["--packages", ",".join((*packages(installed_build()), *PACKAGES))]
    job = cluster.submit(*packaged, *words, str(ROOT / "jobs" / "train.py"), *arguments[1:])
    out, err = job.communicate(timeout=4 * PATIENCE)
    assert job.returncode == 0, (out[-1500:], err[-1500:])  # what the job writes to stderr is in either
    assert f"report  {model}/report.html" in out

    mine, local = load(model), load(trained.bundle)
    canonical = mine.contract.canonical(trained.frame)
    np.testing.assert_allclose(mine.margin(canonical), local.margin(canonical), rtol=1e-5, atol=1e-6)


def test_a_lost_executor_neither_hangs_nor_changes_a_result(cluster: Standalone, packaged: tuple[Path, Path]) -> None:
    # Seconds a fit may take: a lost executor has to come back first, perhaps twice, on a machine with other work.
    job = cluster.submit(*packaged, str(Path(__file__).with_name("fits_job.py")), str(PATIENCE))
    watchdog = threading.Timer(8 * PATIENCE, os.killpg, (job.pid, signal.SIGKILL))
    watchdog.start()
    errors: list[str] = []
    assert job.stdout is not None
    assert job.stderr is not None
    reader = threading.Thread(target=lambda: errors.extend(job.stderr or ()))
    reader.start()
    found: dict[str, dict[str, Any]] = {}
    said: list[str] = []  # spark-submit passes on what the job writes to stderr here, too
    for line in job.stdout:
        said.append(line)
        if line.startswith("running "):
            time.sleep(WAITED.get(line.split()[1], 0.3))
            cluster.kill_an_executor()
        elif line.startswith("ended "):
            _, name, outcome = line.split(" ", 2)
            found[name] = json.loads(outcome)
    watchdog.cancel()
    assert job.wait() == 0, "".join(errors)[-3000:]
    reader.join()
    (cluster.folder / "driver.log").write_text("".join([*errors, *said]))
    assert set(found) == set(UNITS), "".join(errors)[-3000:]
    print(found)
    assert {one["outcome"] for one in found.values()} == {"done"}, found
    done_again = ("ring", "xgboost", "torch", "scoring")  # the barrier stage, or the task
    assert {name: found[name]["same"] for name in done_again} == dict.fromkeys(done_again, True), found
    assert found["lightgbm"]["trees"] > 0
    log = (cluster.folder / "master.log").read_text()
    assert log.count("Removing executor") >= len(UNITS), "an executor was lost in each unit"
