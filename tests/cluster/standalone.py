"""A real standalone Spark cluster on loopback: a master and its workers as processes, from pyspark's own jars."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from remedi_spark.spark.builds import installed_build, packages
from remedi_spark.spark.session import use_java
from tests.interpreted import QUICK_JAVA, SUBMITTED

ROOT = Path(__file__).parents[2]
PATIENCE = float(os.environ.get("REMEDI_TEST_PATIENCE", "300"))
"""Seconds that anything may take before a test gives up; a busy machine needs more."""


class Standalone:
    """Master and workers of one core each; all of them end with the block.

    ``java`` and ``settings`` are what the jobs run with: by default what suits the few rows of a test. ``pinned``: a
    worker, its executor and its Python have one core of the machine and no more.
    """

    def __init__(
        self, folder: Path, workers: int = 2, *,
        memory_mb: int = 1000, java: str = QUICK_JAVA, settings: Mapping[str, str] = SUBMITTED, pinned: bool = False,
    ) -> None:  # fmt: skip
        import pyspark

        use_java(installed_build())
        self.folder = folder
        self.home = Path(pyspark.__file__).parent
        self.port = _free_port()
        self._size = workers
        self._memory_mb = memory_mb
        self._java = java
        self._settings = settings
        self._pinned = pinned
        self._processes: list[subprocess.Popen[bytes]] = []
        self._jobs: list[subprocess.Popen[str]] = []

    @property
    def url(self) -> str:
        """What ``--master`` takes."""
        return f"spark://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._start("master", "master.Master", "--port", str(self.port))
        for number in range(self._size):
            work = self.folder / f"worker{number}"
            options = ["--cores", "1", "--memory", f"{self._memory_mb + 500}m", "--work-dir", str(work), self.url]
            self._start(f"worker{number}", "worker.Worker", *options, core=number if self._pinned else None)
        log = self.folder / "master.log"
        _wait_until(lambda: log.read_text().count("Registering worker") == self._size, "the workers to register")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for process in (*self._jobs, *reversed(self._processes)):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        for process in self._processes:
            process.wait(timeout=60)

    def _start(self, name: str, what: str, *options: str, core: int | None = None) -> None:
        pin = [] if core is None else ["taskset", "--cpu-list", str(core)]
        command = [
            *pin, str(self.home / "bin" / "spark-class"), f"org.apache.spark.deploy.{what}", "--host", "127.0.0.1",
            "--webui-port", "0", *options,
        ]  # fmt: skip
        environment = {
            **os.environ, "SPARK_HOME": str(self.home), "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_DAEMON_JAVA_OPTS": QUICK_JAVA,
        }  # fmt: skip
        with (self.folder / f"{name}.log").open("wb") as log:
            started = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        self._processes.append(started)

    def executors(self) -> list[int]:
        """Return the process ids of the newest job's executors; those of a job that has ended may still be closing."""
        mine = {process.pid for process in self._processes}
        found: dict[str, list[int]] = {}
        for pid, parent, command in _processes():
            words = command.split("\0")
            if parent in mine and "--app-id" in words:
                found.setdefault(words[words.index("--app-id") + 1], []).append(pid)
        return found[max(found)] if found else []

    def kill_an_executor(self) -> None:
        """End one by SIGKILL, as a lost machine would."""
        lost = self.executors()[0]
        os.kill(lost, signal.SIGKILL)
        _wait_until(lambda: lost not in self.executors(), "an executor to end")

    def submit(self, python: Path, archive: Path, *words: str) -> subprocess.Popen[str]:
        """Start ``spark-submit`` as docs/operations.md tells to."""
        environment = {
            **os.environ, "SPARK_HOME": str(self.home), "SPARK_LOCAL_IP": "127.0.0.1",
            "PYSPARK_DRIVER_PYTHON": str(python), "PYSPARK_PYTHON": "./environment/bin/python",
        }  # fmt: skip
        environment.pop("PYTHONPATH", None)
        settings = {
            "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
            "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
            "spark.sql.session.timeZone": "UTC", "spark.speculation": "false",
            "spark.task.reaper.enabled": "true", "spark.task.reaper.killTimeout": "10s",
            # How often a barrier stage looks whether a lost executor has come back.
            "spark.scheduler.barrier.maxConcurrentTasksCheck.interval": "2s",
            "spark.dynamicAllocation.enabled": "false", "spark.sql.shuffle.partitions": "2",
            "spark.ui.enabled": "false", "spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1",
            **self._settings,
        }  # fmt: skip
        command = [
            str(self.home / "bin" / "spark-submit"), "--master", self.url, "--driver-memory", "1500m",
            "--driver-java-options", self._java, "--executor-memory", f"{self._memory_mb}m",
            "--packages", ",".join(packages(installed_build())), "--archives", f"{archive}#environment",
            *[word for name, value in settings.items() for word in ("--conf", f"{name}={value}")], *words,
        ]  # fmt: skip
        job = subprocess.Popen(
            command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
        self._jobs.append(job)
        return job


def packaged_environment(folder: Path) -> tuple[Path, Path]:
    """Build the wheel, install it into an environment of its own, pack that; return its python and the archive.

    The environment holds the wheel alone, and finds everything else where this interpreter does: torch would make the
    archive gigabytes large.
    """
    source = folder / "source"
    shutil.copytree(ROOT / "remedi_spark", source / "remedi_spark", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source / name)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(source)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    environment = folder / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    (packages,) = environment.glob("lib/python*/site-packages")
    shutil.unpack_archive(wheel, packages, "zip")
    others = next(path for path in sys.path if path.endswith("site-packages"))
    (packages / "others.pth").write_text(others + "\n")
    archive = folder / "environment.tar.gz"
    subprocess.run(["tar", "-czf", str(archive), "-C", str(environment), "."], check=True)
    return environment / "bin" / "python", archive


def _processes() -> list[tuple[int, int, str]]:
    """Return process id, process id of the parent and command line of every process."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rsplit(")", 1)[1].split()[1])
            found.append((int(path.name), parent, (path / "cmdline").read_text()))
        except (OSError, IndexError):  # it has ended meanwhile
            continue
    return found


def _wait_until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {PATIENCE} s for {what}")
        time.sleep(0.2)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
