"""What has changed in a table since the last run, found without reading the rows that were there before.

A Delta table is known by its id and the version of its last change: rows that came or went are read from its change
data feed where it has one, else, as long as rows were only appended (and files put together before that at most), from
the files that were added. A folder of parquet files is known by the size and time of each file. Anything else that
changed (rewritten files, an overwritten table) counts as all new.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyspark.errors import AnalysisException, PySparkException
from pyspark.sql import functions as F

from remedi_spark.features.reading import package_file, read_location
from remedi_spark.progress import log
from remedi_spark.reading.csv_files import ENDINGS as CSV
from remedi_spark.reading.parquet_files import AS_WRITTEN, read_parquet
from remedi_spark.reading.parquet_files import ENDINGS as PARQUET
from remedi_spark.reading.paths import data_files, is_remote, local_path
from remedi_spark.spark.capabilities import capabilities
from remedi_spark.spark.delta import detail, history, path_identifier
from remedi_spark.spark.files import stat
from remedi_spark.spark.names import column
from remedi_spark.spark.plans import analysed, analysed_plan
from remedi_spark.storage.catalog_names import quoted_name
from remedi_spark.storage.commits import LOOKED_AT, TIDYING, last_change, last_listed_change
from remedi_spark.storage.tables import is_catalog_name, is_delta

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from remedi_spark.config.sources import Location

Fingerprint = dict[str, Any]
"""JSON that differs when the table does."""
CHANGE_COLUMNS = ("_change_type", "_commit_version", "_commit_timestamp")
_EXPRESSION_ID = re.compile(r"#\d+")
_CDF = "delta.enableChangeDataFeed"
_SAME_FILES = TIDYING - {"OPTIMIZE", "REORG"}


def fingerprint(spark: SparkSession, location: Location, where: str) -> Fingerprint:
    """Return what tells the table's present content from any other."""
    if location.package is not None:
        stat = package_file(location.package, where).stat()
        return {"files": {location.package: [stat.st_size, stat.st_mtime_ns]}}
    name = location.table or location.path or ""
    if _is_delta(spark, name):
        table = _identifier(name)
        listed = None if _is_named(name) else last_listed_change(name)
        version, _ = listed or last_change(history(spark, table, LOOKED_AT))
        return {"delta": detail(spark, table)["id"], "version": version}
    if not _is_named(name) and not is_remote(name):
        # Listed here: a table that pyarrow reads has no input files for Spark.
        stats = {str(file): file.stat() for file in data_files(local_path(name), (*PARQUET, *CSV))}
        return {"files": {file: [stat.st_size, stat.st_mtime_ns] for file, stat in stats.items()}}
    # Without a JVM nothing shows the files' sizes and times.
    shown = read_location(spark, location, where).inputFiles() if capabilities(spark).has_jvm else []
    files = {file: _file_stat(spark, file) for file in sorted(shown)}
    if not shown and not capabilities(spark).has_jvm:
        log(
            "features", f"{name}: nothing shows over Spark Connect when its files were changed; all of it is read again"
        )
    if not files:  # or rows of memory or of another system: nothing tells whether they are the same
        return {"files": {}, "unknown": uuid.uuid4().hex}
    if not _is_named(name):
        return {"files": files}
    view = _definition(spark, name)
    return {"files": files} | ({} if view is None else {"view": hashlib.sha256(view.encode()).hexdigest()})


def changed_rows(spark: SparkSession, location: Location, before: Fingerprint, now: Fingerprint) -> DataFrame | None:
    """Return the rows that came or went since ``before``, or None when that cannot be told from the rest."""
    name = location.table or location.path or ""
    if location.package is not None:
        return None
    if "delta" in now:
        return _delta_rows(spark, location, before, now) if before.get("delta") == now["delta"] else None
    old, new = before.get("files", {}), now["files"]
    if not new or before.get("view") != now.get("view"):
        return None
    if any(new.get(file) != stat for file, stat in old.items()) or not all(f.endswith(".parquet") for f in new):
        return None
    frame, added = read_location(spark, location, ""), [file for file in new if file not in old]
    if not added or _is_named(name):
        return _read_files(spark, frame, added, name)
    return _aligned(read_parquet(spark, name, only=added), frame)


def _aligned(rows: DataFrame, frame: DataFrame) -> DataFrame:
    """Return some rows of a table in the columns of the whole."""
    own = set(rows.columns)
    fields = frame.schema.fields
    return rows.select(
        *((column(f.name) if f.name in own else F.lit(None)).cast(f.dataType).alias(f.name) for f in fields)
    )


def _delta_rows(spark: SparkSession, location: Location, before: Fingerprint, now: Fingerprint) -> DataFrame | None:
    name = location.table or location.path or ""
    about = detail(spark, _identifier(name))
    properties: dict[str, str] = about["properties"]
    first = before["version"] + 1
    if properties.get(_CDF) == "true":
        feed = spark.read.format("delta").option("readChangeFeed", "true").option("startingVersion", first)
        try:
            rows = feed.table(name) if _is_named(name) else feed.load(name)
            return analysed(rows.drop(*CHANGE_COLUMNS))
        except AnalysisException:  # the feed was switched on later than that
            return None
    commits = history(spark, _identifier(name)).filter(f"version >= {first}").orderBy("version").collect()
    operations = [commit["operation"] for commit in commits]
    # Files that were put together before anything was added are the old rows.
    tidied = next((at for at, operation in enumerate(operations) if operation not in TIDYING), len(operations))
    appended = all(commit["isBlindAppend"] or commit["operation"] in _SAME_FILES for commit in commits[tidied:])
    # Without a commit for every version (the log was cleaned up), or with renamed columns, files tell too little.
    complete = bool(commits) and len(commits) == commits[-1]["version"] - before["version"]
    if not appended or not complete or "delta.columnMapping.mode" in properties:
        return None
    frame = read_location(spark, location, "")
    old = spark.read.format("delta").option("versionAsOf", before["version"] + tidied)
    old_frame = old.table(name) if _is_named(name) else old.load(name)
    added = sorted(set(frame.inputFiles()) - set(old_frame.inputFiles()))
    return _read_files(spark, frame, added, about["location"])


def _read_files(spark: SparkSession, frame: DataFrame, files: list[str], base: str) -> DataFrame:
    if not files:
        return frame.limit(0)
    reader = spark.read.options(**AS_WRITTEN).schema(frame.schema)
    # Columns that folders stand for (day=2026-01-01/…) are read from the path below the table's own.
    if "://" in base or not Path(base).is_file():
        reader = reader.option("basePath", base)
    return reader.parquet(*files)


def _is_named(name: str) -> bool:
    """Tell whether the name stands for a table of the catalog, as ``read_table`` would read it."""
    return is_catalog_name(name) or ("://" not in name and not Path(name).exists())


def _is_delta(spark: SparkSession, name: str) -> bool:
    if not _is_named(name):
        return is_delta(spark, name)
    try:
        kind = spark.catalog.getTable(name).tableType
    except AnalysisException:
        return False
    if kind in ("VIEW", "TEMPORARY"):
        return False
    return bool(detail(spark, quoted_name(name))["format"] == "delta")


def _identifier(name: str) -> str:
    """Return what SQL calls a Delta table."""
    if _is_named(name):
        return quoted_name(name)
    return path_identifier(name if is_remote(name) else str(local_path(name)))


def _file_stat(spark: SparkSession, file: str) -> list[int]:
    found = stat(spark, file)
    return [found.size, found.modified]


def _definition(spark: SparkSession, name: str) -> str | None:
    """Return the plan of a view, whole and the same in every session; None for what is no view of the catalog.

    A view may change while the files below it stay as they are; those of views of views are resolved in it.
    """
    with suppress(PySparkException):
        if spark.catalog.getTable(name).tableType in ("VIEW", "TEMPORARY"):
            return _plan_of(spark.table(name))
    return None


def _plan_of(frame: DataFrame) -> str:
    known: dict[str, str] = {}
    return _EXPRESSION_ID.sub(lambda found: known.setdefault(found[0], f"#{len(known)}"), analysed_plan(frame))
