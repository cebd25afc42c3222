"""``remedi doctor``: what is wrong with this machine, session, configuration and table, and the setting that fixes it.

Every check returns one finding. ``preflight`` runs those that cost nothing before each run: a failure stops it before
anything is written, a warning is said once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from remedi_spark.errors import InputError
from remedi_spark.findings import Finding, State
from remedi_spark.progress import warn
from remedi_spark.reading.paths import is_remote
from remedi_spark.samples.examine import examine_roles
from remedi_spark.scoring.monitoring.verdict import verdict_of
from remedi_spark.spark.builds import Build, expected, find_build
from remedi_spark.spark.capabilities import capabilities, dynamic_allocation, is_local, setting
from remedi_spark.spark.jvm import SYNAPSEML_CLASS, jar_of, runtime
from remedi_spark.spark.names import column
from remedi_spark.spark.partitions import slots
from remedi_spark.storage.places import local_name
from remedi_spark.storage.tables import is_catalog_name, read_table

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

    from remedi_spark.config import Config
    from remedi_spark.storage.tables import Tables

DELTA_CLASS = "io.delta.tables.DeltaTable"
BYTES_A_VALUE = 40
"""Assumed, not measured: a feature value as a double, copied by Arrow, by the learner and into its histogram."""
MANY_LEVELS = 0.5
"""A text column with more levels than this share of the rows identifies rows rather than describing them."""


def examine(
    spark: SparkSession, config: Config, *, table: str | None = None, label: str | None = None, id_: str | None = None,
    model: tuple[Tables, str] | None = None,
) -> list[Finding]:  # fmt: skip
    """Return all findings: the session's, the configuration's and, with a table, the data's.

    With ``model``, the tables and the version of a bundle, also whether its last list can be used.
    """
    found = [*_session(spark), *_settings(spark, config), _writable(config.root)]
    if model is not None:
        found.append(last_list(*model, config))
    if table is not None:
        named = [name for name in (label, id_) if name is not None]
        frame = read_table(spark, table, as_text=[id_] if id_ else [], roles=named)
        found += _data(spark, config, frame, table, label, id_)
    return found


def last_list(tables: Tables, model_version: str, config: Config) -> Finding:
    """Return whether the last list of a model can be used, is to be looked at, or the model is to be trained again."""
    verdict = verdict_of(tables, model_version, config.monitoring)
    if verdict is None:
        return Finding("warn", "model", f"version {model_version} has scored nothing in {tables.root}", "remedi scores")
    fixes = {"ship": "", "look": "see the table monitoring, or remedi report --history", "retrain": "train again"}
    return Finding("ok" if verdict.decision == "ship" else "warn", "model", str(verdict), fixes[verdict.decision])


def preflight(spark: SparkSession, config: Config, root: str) -> None:
    """Warn of what may go wrong, and stop before anything is written when something surely will.

    Raises:
        InputError: with the first failure and how to fix it.
    """
    for finding in [*_settings(spark, config), _writable(root)]:
        if finding.state == "fail":
            raise InputError(f"{finding.what}: {finding.found}; {finding.fix}")
        if finding.state == "warn":
            warn("preflight", f"{finding.what}: {finding.found}; {finding.fix}")


def _check(good: bool, what: str, found: str, fix: str) -> Finding:
    return Finding("ok", what, found) if good else Finding("fail", what, found, fix)


def _session(spark: SparkSession) -> Iterator[Finding]:
    build = find_build(spark.version)
    yield _check(build is not None, "Spark", spark.version, expected())
    if not capabilities(spark).has_jvm:
        yield Finding("ok", "JVM", "the server's, out of reach over Spark Connect (not looked at)")
    elif build is not None:
        yield from _jvm(spark, build)
    yield _python(spark)


def _jvm(spark: SparkSession, build: Build) -> Iterator[Finding]:
    found = runtime(spark)
    numbers = found.java.split(".")
    major = int(numbers[1] if numbers[0] == "1" else numbers[0])
    fits = f"expected one of {', '.join(map(str, build.java))} for Spark {build.spark}; set JAVA_HOME"
    yield _check(major in build.java, "Java", found.java, fits)
    fits = f"expected {build.scala} for Spark {build.spark}; use a runtime built for it"
    yield _check(found.scala.startswith(build.scala), "Scala", found.scala, fits)
    yield _delta_jar(jar_of(spark, DELTA_CLASS), build)
    yield _synapseml_jar(jar_of(spark, SYNAPSEML_CLASS), build)


def _delta_jar(file: str | None, build: Build) -> Finding:
    fits = f"{build.delta_artifact}:{build.delta}.*"
    if file is None:
        return Finding("fail", "Delta jar", "not on the class path", f"add --packages {fits}")
    if f"-{build.delta}." in file:
        return Finding("ok", "Delta jar", file)
    return Finding("warn", "Delta jar", file, f"Spark {build.spark} was tested with {fits}")


def _synapseml_jar(file: str | None, build: Build) -> Finding:
    if file is not None:
        return Finding("ok", "SynapseML jar", file)
    if build.synapseml is None:
        what = f"none, as usual on Spark {build.spark}: LightGBM fits by its own library"
        return Finding("ok", "SynapseML jar", what)
    fix = f"add --packages {build.synapseml}"
    return Finding("warn", "SynapseML jar", "none: LightGBM fits by its own library only", fix)


def _python(spark: SparkSession) -> Finding:
    driver = ".".join(map(str, sys.version_info[:2]))
    try:
        rows = spark.range(1, numPartitions=1).mapInArrow(_python_version, "version string")  # type: ignore[arg-type]
        worker = rows.collect()[0]["version"]
    except Exception as error:
        reason = str(error).splitlines()[-1] if str(error) else type(error).__name__
        return Finding("fail", "Python of workers", reason, "set PYSPARK_PYTHON to a Python that every worker has")
    if worker == driver:
        return Finding("ok", "Python of workers", f"{worker}, as the driver's")
    return Finding(
        "fail", "Python of workers", f"{worker}, but the driver has {driver}",
        "set PYSPARK_PYTHON and PYSPARK_DRIVER_PYTHON to the same version",
    )  # fmt: skip


def _python_version(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    for _ in batches:
        yield pa.RecordBatch.from_pydict({"version": [".".join(map(str, sys.version_info[:2]))]})


def _settings(spark: SparkSession, config: Config) -> Iterator[Finding]:
    available, wanted = slots(spark), config.base_models.workers
    yield _check(
        wanted is None or wanted <= available, "slots",
        f"{available} tasks can run at once" + ("" if wanted is None else f", base_models.workers is {wanted}"),
        f"--set base_models.workers={available}, or give the job more cores",
    )  # fmt: skip
    if dynamic_allocation(spark):
        if (wanted or 1) > 1:
            yield _needs_barrier("fail", f"on, and a fit over {wanted} tasks runs them all at once")
        else:
            yield _needs_barrier("warn", "on: fits beyond spark.task_memory take several tasks at once, and fail")
    if setting(spark, "spark.speculation", "false") == "true":
        yield Finding(
            "fail", "speculation", "on: a second copy of a task breaks a fit over several workers",
            "--conf spark.speculation=false",
        )  # fmt: skip
    reaper = setting(spark, "spark.task.reaper.enabled", "false"), setting(spark, "spark.task.reaper.killTimeout", "-1")
    if not is_local(spark) and (reaper[0] != "true" or reaper[1] == "-1"):
        yield Finding(
            "warn", "task reaper", "off: a task of a fit that was cancelled may wait on a socket and keep its slot",
            "--conf spark.task.reaper.enabled=true --conf spark.task.reaper.killTimeout=60s",
        )  # fmt: skip
    zone = spark.conf.get("spark.sql.session.timeZone")
    if zone not in ("UTC", "Etc/UTC", "Z"):
        yield Finding(
            "warn", "time zone", f"{zone}: days of snapshots depend on it",
            "--conf spark.sql.session.timeZone=UTC",
        )  # fmt: skip


def _needs_barrier(state: State, found: str) -> Finding:
    """Return what Spark's own check of barrier stages will say hours later."""
    return Finding(state, "dynamic allocation", found, "--conf spark.dynamicAllocation.enabled=false")


def _writable(root: str) -> Finding:
    if is_catalog_name(root) or is_remote(root):
        return Finding("ok", "root", f"{root} (not tried)")
    folder = Path(local_name(root))
    existing = next(path for path in [folder, *folder.absolute().parents] if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        why = "not a folder" if not existing.is_dir() else "no permission, or a read-only disk"
        return Finding("fail", "root", f"{root} cannot be written ({why})", "name another with --root, or free it")
    free = os.statvfs(existing)
    gigabytes = free.f_bavail * free.f_frsize / 1e9
    if gigabytes < 1:
        return Finding("warn", "root", f"{root}: {gigabytes:.1f} GB free", "free some, or name another with --root")
    return Finding("ok", "root", f"{root}: {gigabytes:.0f} GB free")


def _data(
    spark: SparkSession, config: Config, frame: DataFrame, table: str, label: str | None, id_: str | None
) -> Iterator[Finding]:
    rows = frame.count()
    yield _check(rows > 0, "rows", f"{rows:,}", "the table is empty")
    if capabilities(spark).has_jvm:
        yield _memory(spark, rows * len(frame.columns) * BYTES_A_VALUE / 1e9)
    cells = min(rows, config.base_models.max_rows or rows) * len(frame.columns)
    several = config.base_models.workers is None and config.base_models.max_rows is None
    if several and cells > config.spark.task_numbers and dynamic_allocation(spark):
        yield _needs_barrier("fail", f"on, and fits of {cells:,} numbers take several tasks at once")
    yield from _levels(frame, rows, label, id_)
    if rows:
        yield from examine_roles(frame, config, table, label, id_)


def _memory(spark: SparkSession, needed: float) -> Finding:
    """Compare the gigabytes that a table needs with the heap."""
    heap = runtime(spark).heap_bytes / 1e9
    found = f"about {needed:.1f} GB needed, the JVM may use {heap:.1f}"
    if needed > heap and is_local(spark):
        return Finding("warn", "memory", found, f"--set spark.driver_memory={int(needed * 1.5) + 1}g")
    return Finding("ok", "memory", found)


def _levels(frame: DataFrame, rows: int, label: str | None, id_: str | None) -> Iterator[Finding]:
    text = [name for name, kind in frame.dtypes if kind == "string" and name not in (label, id_)]
    if not text or not rows:
        return
    counts = frame.agg(*(F.approx_count_distinct(column(name)).alias(f"c{i}") for i, name in enumerate(text)))
    levels = dict(zip(text, counts.collect()[0], strict=True))
    wide = [f"{name} ({count:,} levels)" for name, count in levels.items() if count > MANY_LEVELS * rows]
    if wide:
        yield Finding(
            "warn", "levels", ", ".join(wide), "a column that names rows teaches nothing; drop it from the table"
        )
