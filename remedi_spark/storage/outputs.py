"""Write a result where the user asked for it, whole or not at all, and over nothing that is something else."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from remedi_spark.errors import InputError
from remedi_spark.reading.paths import is_remote
from remedi_spark.spark.capabilities import capabilities
from remedi_spark.storage.catalog_names import quoted_name
from remedi_spark.storage.csv_output import CSV_OPTIONS, flat, without_formulas
from remedi_spark.storage.places import local_name
from remedi_spark.storage.replacing import beside as new_beside
from remedi_spark.storage.replacing import recover, replace_folder, replace_remote
from remedi_spark.storage.tables import Tables, is_catalog_name, is_csv, is_delta

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def check_output(spark: SparkSession, out: str, columns: tuple[str, ...]) -> None:
    """Refuse, before any work, an output that exists and is something else than a former result.

    A former result is a table that has all of ``columns``; it is replaced.
    """
    if is_catalog_name(out):
        out = quoted_name(out)
        if spark.catalog.tableExists(out):
            _require_columns(spark.read.table(out).columns, columns, out)
        return
    if is_remote(out):
        _require_moves(spark, out)
        return
    path = Path(local_name(out))
    recover(path)
    if not path.exists():
        return
    if path.is_file() or (any(path.iterdir()) and not _is_result(spark, path, columns)):
        raise InputError(
            f"output {out}: exists and is not a scores table; expected a new path or a former result to replace"
        )


def write_table(frame: DataFrame, out: str, *, escape_formulas: bool = True) -> None:
    """Write to a catalog table, a ``.parquet`` or ``.csv`` folder, or (any other path) a Delta folder.

    With ``escape_formulas``, no text of a CSV file is one that a spreadsheet would compute.
    """
    spark = frame.sparkSession
    if is_catalog_name(out):
        frame.write.format("delta").mode("overwrite").option("overwriteSchema", "true").saveAsTable(quoted_name(out))
    elif is_csv(out):
        rows = flat(frame)
        _write_beside(without_formulas(rows) if escape_formulas else rows, "csv", out)
    elif out.rstrip("/").lower().endswith(".parquet"):
        _write_beside(frame, "parquet", out)
    else:
        frame.write.format("delta").mode("overwrite").option("overwriteSchema", "true").save(out)
    if not is_catalog_name(out):
        spark.catalog.refreshByPath(out)  # what others have cached of this place, and of no other


def beside(spark: SparkSession, out: str, suffix: str) -> tuple[Tables, str]:
    """Return root and name of a Delta table next to an output: ``scores.parquet`` and ``_x`` give ``scores_x``."""
    if is_catalog_name(out):
        schema, _, name = out.rpartition(".")
        return Tables(spark, schema, catalog=True), name + suffix
    parent, slash, name = out.rstrip("/").rpartition("/")
    return Tables(spark, parent if slash else ".", catalog=False), name.split(".")[0] + suffix


def _write_beside(frame: DataFrame, kind: str, out: str) -> None:
    """Write next to ``out`` and move there, so that readers never see half a folder."""
    writer = frame.write.mode("overwrite").options(**(CSV_OPTIONS if kind == "csv" else {})).format(kind)
    if is_remote(out):
        parent, _, name = out.rstrip("/").rpartition("/")
        new = f"{parent}/.{name}.new.{uuid.uuid4().hex}"
        writer.save(new)
        replace_remote(frame.sparkSession, new, out.rstrip("/"))
        return
    path = Path(local_name(out))
    place = new_beside(path)
    try:
        writer.save(str(place))
        replace_folder(place, path)
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise


def _require_moves(spark: SparkSession, out: str) -> None:
    """Refuse what could be written on a file system of Spark's alone, and not be moved to its place there."""
    files = is_csv(out) or out.rstrip("/").lower().endswith(".parquet")
    if files and not capabilities(spark).has_jvm:
        raise InputError(
            f"output {out}: over Spark Connect this process moves no files there; name a Delta folder, a catalog table,"
            " or a folder of this machine"
        )


def _is_result(spark: SparkSession, path: Path, columns: tuple[str, ...]) -> bool:
    if is_delta(spark, str(path)):
        return set(columns) <= set(spark.read.format("delta").load(str(path)).columns)
    kind = "csv" if is_csv(str(path)) else "parquet"
    if not any(path.glob(f"*.{kind}")):
        return False
    reader = spark.read.option("header", "true").format(kind)
    return set(columns) <= set(reader.load(str(path)).columns)


def _require_columns(found: list[str], columns: tuple[str, ...], out: str) -> None:
    missing = [name for name in columns if name not in found]
    if missing:
        raise InputError(f"output {out}: exists and has no column {missing[0]!r}; it is not a scores table")
