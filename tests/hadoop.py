"""A file system of Hadoop of the tests' own: Hadoop's mini cluster of a name node and a data node, in a JVM."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyspark

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_JARS = Path(pyspark.__file__).parent / "jars"
_MAIN = "org.apache.hadoop.mapreduce.MiniHadoopClusterManager"
PATIENCE = 120.0


def hadoop_version() -> str:
    """Return the version of the Hadoop that PySpark brings."""
    (jar,) = _JARS.glob("hadoop-client-api-*.jar")
    return jar.stem.removeprefix("hadoop-client-api-")


@contextmanager
def served(spark: SparkSession, folder: Path) -> Iterator[str]:
    """Run the cluster on disk space of a folder; yield its address, such as ``hdfs://127.0.0.1:8020``.

    Its jars come by Spark's own resolution of packages, and do not get into the session.
    """
    port, details = _free_port(), folder / "details.json"
    command = [
        "java", "-Xmx256m", "-XX:TieredStopAtLevel=1", f"-Dtest.build.data={folder}",
        "-cp", ":".join([*_resolved(spark), f"{_JARS}/*"]),
        _MAIN, "-nomr", "-format", "-nnport", str(port), "-nnhttpport", "0", "-writeDetails", str(details),
    ]  # fmt: skip
    with (folder / "cluster.log").open("wb") as log:
        cluster = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    try:
        _wait(details, cluster)
        yield f"hdfs://127.0.0.1:{port}"
    finally:
        cluster.terminate()
        cluster.wait(timeout=PATIENCE)


def _resolved(spark: Any) -> list[str]:
    """Return the paths of the cluster's jars; Spark's own have all that the excluded ones would bring."""
    package = f"org.apache.hadoop:hadoop-client-minicluster:{hadoop_version()}"
    excluded = "org.apache.hadoop:hadoop-client-api,org.apache.hadoop:hadoop-client-runtime"
    uri = spark._jvm.java.net.URI(f"ivy://{package}?exclude={excluded}")
    found = spark._jvm.org.apache.spark.util.DependencyUtils.resolveMavenDependencies(uri)
    return [str(found.apply(number)).removeprefix("file:") for number in range(found.size())]


def _wait(details: Path, cluster: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + PATIENCE
    while not _is_written(details):
        if cluster.poll() is not None or time.monotonic() > until:
            raise TimeoutError((details.parent / "cluster.log").read_text(errors="replace")[-3000:])
        time.sleep(0.2)


def _is_written(details: Path) -> bool:
    try:
        return bool(json.loads(details.read_text()))
    except (OSError, ValueError):
        return False


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
