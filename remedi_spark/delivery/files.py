"""Scores or lists as Parquet or CSV files with a manifest, put in place in one step.

``OUT/manifest.json`` names the folder that holds the rows; it is written last and replaced in one step, so that whoever
starts from it sees the former export or the new one, whole. The folder of the former export is kept until the next
one: readers that began with it can finish. Nothing is removed but what an export has written: what the manifest names,
and what a mark beside it says that a killed export has begun.
"""

from __future__ import annotations

import errno
import json
import os
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

from pyspark.sql import functions as F

from remedi_spark.delivery.selection import Selection, reasons_as_text
from remedi_spark.errors import InputError
from remedi_spark.progress import log
from remedi_spark.spark import files
from remedi_spark.spark.capabilities import asked_for, capabilities
from remedi_spark.spark.errors import SPARK_ERRORS
from remedi_spark.storage.csv_output import CSV_OPTIONS, without_formulas
from remedi_spark.storage.file_systems import Files, reached
from remedi_spark.storage.places import local_name
from remedi_spark.storage.store import as_json
from remedi_spark.storage.table_contract import TableContract
from remedi_spark.version import __version__

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

MANIFEST = "manifest.json"
Format = Literal["parquet", "csv"]
_DISK = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EACCES, errno.EROFS)
_CSV = {**CSV_OPTIONS, "timestampFormat": "yyyy-MM-dd'T'HH:mm:ssXXX"}
_FOLDER = re.compile(r"\d{8}T\d{6}-[0-9a-f]{6}\Z")
_KILLED = 24 * 3600.0
"""Seconds after which an export that was begun and has not ended is taken for killed."""


def export_files(
    selection: Selection, source: str, out: str | Path, kind: Format, *, escape_formulas: bool = True
) -> dict[str, Any]:
    """Write the rows and their manifest; return the manifest.

    Args:
        selection: what to write.
        source: the table that it comes from, for the manifest.
        out: folder, or address such as ``s3a://bucket/export``; created, or a former export.
        kind: format of the files.
        escape_formulas: CSV only: let no text be one that a spreadsheet would compute.

    Raises:
        InputError: ``out`` is something else or an export of another table, cannot be written (disk full), or is
            another folder for Spark than for this process; the former export then stands.
    """
    there = Files.at(local_name(str(out)), "output")
    with reached(there.address, "output"):
        _require_same(_stored(there), selection.contract.name, there)
    folder = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"
    mark = _mark(folder)
    try:
        there.make()
        there.write(mark, b"")
        _require_shared(selection.rows.sparkSession, there, mark)
        rows = selection.rows if kind == "parquet" else reasons_as_text(selection.rows)
        if kind == "csv" and escape_formulas:
            rows = without_formulas(rows)
        manifest = _write(replace(selection, rows=rows), source, there, folder, kind)
        before = _stored(there)  # again: another export may have ended meanwhile
        there.write(MANIFEST, as_json(manifest | {"former": before.get("folder")}))
    except BaseException as error:
        with suppress(OSError):
            there.remove_folder(folder)
        reason = _disk_error(error)
        if reason is None:
            raise
        raise InputError(
            f"output {out}: {reason}; the former export, if any, stands as it was; make room and run again"
        ) from error
    finally:
        with suppress(OSError):
            there.remove(mark)
    _tidy(there, before.get("former"), keep={folder, before.get("folder")})
    log("export", f"{selection.count} rows in {len(manifest['files'])} files of {there.address}/{folder}")
    return manifest


def _stored(there: Files) -> dict[str, Any]:
    """Return the manifest of the former export, {} without one; refuse a folder that is something else."""
    refusal = InputError(
        f"output {there.address}: exists and is not an export; expected a new folder or a former export"
    )
    if there.is_file():
        raise refusal
    names = {one.name for one in there.entries()}
    if MANIFEST not in names:
        if all(_is_mark(name) or _mark(name) in names for name in names):
            return {}  # nothing, or a first export that was killed or is under way
        raise refusal
    try:
        manifest = json.loads(there.read(MANIFEST) or b"")
        known = isinstance(manifest["folder"], str)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise refusal from error
    if not known:
        raise refusal
    return dict(manifest)


def _require_same(stored: dict[str, Any], table: str, there: Files) -> None:
    """Refuse a former export of another table: its readers would find rows of another form."""
    former = stored.get("table", "scores")  # the only one that earlier versions could export
    if stored and former != table:
        raise InputError(
            f"output {there.address}: holds an export of {former}, expected a new folder or a former export of {table}"
        )


def _mark(folder: str) -> str:
    """Return the file that says, while an export runs, that its folder is an export's."""
    return f".{folder}.begun"


def _marked(name: str) -> str:
    """Return the folder that a file marks, or what is no folder's name."""
    return name.removeprefix(".").removesuffix(".begun")


def _is_mark(name: str) -> bool:
    return bool(_FOLDER.match(_marked(name))) and name == _mark(_marked(name))


def _require_shared(spark: SparkSession, out: Files, mark: str) -> None:
    """Refuse a folder that Spark, whose default file system may be another, does not find where this process does."""
    if not capabilities(spark).has_jvm:
        return  # the rows are counted here once they are written
    path = f"{out.address if not out.is_local else out.base}/{mark}"
    if not files.exists(spark, path):
        there = files.system_of(spark, path)
        raise InputError(
            f"output {out.address}: Spark writes there to {there}, which this process does not see; expected a folder"
            " or address of both, or copy the table of scores with the platform's own tools"
        )


def _write(selection: Selection, source: str, out: Files, folder: str, kind: Format) -> dict[str, Any]:
    rows = selection.rows
    writer = rows.write.format(kind)
    with _standard_timestamps(rows.sparkSession):
        (writer.options(**_CSV) if kind == "csv" else writer).save(f"{out.address}/{folder}")
    counts = _counts(rows, f"{out.address}/{folder}", kind)
    written = {PurePosixPath(one.name).name: one for one in out.entries(folder) if not one.is_folder}
    _require_whole(counts, set(written), out, selection.count)
    files = [
        {"name": name, "bytes": one.size, "rows": counts.get(name, 0), "sha256": out.sha256(one.name)}
        for name, one in written.items()
        if name.endswith(f".{kind}")
    ]
    for name, one in written.items():
        if name == "_SUCCESS" or (name.startswith(".") and name.endswith(".crc")):
            out.remove(one.name)
    return {
        "table": selection.contract.name,
        "contract": selection.contract.version,
        "remedi_spark": __version__,
        "created_at": datetime.now(UTC).replace(microsecond=0).isoformat(),
        "source": source,
        "format": kind,
        "folder": folder,
        "rows": selection.count,
        "slices": [
            {"snapshot_date": _text(one.snapshot), "model_version": one.model_version, "run_id": one.run_id,
             "scored_at": _text(one.scored_at), "rows": one.rows}
            for one in selection.slices
        ],
        "columns": _columns(rows, selection.contract),
        "files": files,
    }  # fmt: skip


def _require_whole(counts: dict[str, int], written: set[str], out: Files, expected: int) -> None:
    """Check that this process finds all rows that the executors wrote."""
    here = sum(count for name, count in counts.items() if name in written)
    if here == sum(counts.values()) == expected:
        return
    raise InputError(
        f"output {out.address}: of {expected} rows this process finds {here} there; executors of other machines "
        "must write to a folder that all of them share, such as a mounted volume"
    )


@contextmanager
def _standard_timestamps(spark: SparkSession) -> Iterator[None]:
    """Write Parquet's own UTC timestamps: Spark's default, INT96, says nothing of a zone to other readers."""
    with asked_for(spark, "spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS") as granted:
        if not granted:
            log("export", "the server keeps its own kind of Parquet timestamps, which may be INT96: read them as UTC")
        yield


def _counts(rows: DataFrame, folder: str, kind: Format) -> dict[str, int]:
    """Read back what was written; return the rows of each file."""
    reader = rows.sparkSession.read.schema(rows.schema).format(kind)
    written = (reader.options(**_CSV, multiLine="true") if kind == "csv" else reader).load(folder)
    found = written.groupBy(F.input_file_name().alias("file")).count().collect()
    return {PurePosixPath(row["file"]).name: row["count"] for row in found}


def _columns(rows: DataFrame, contract: TableContract) -> list[dict[str, Any]]:
    return [
        {"name": field.name, "type": field.dataType.simpleString(), "nullable": contract.nullable[field.name],
         "comment": contract.comments[field.name]}
        for field in rows.schema.fields
    ]  # fmt: skip


def _text(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else value


def _tidy(out: Files, old: Any, keep: set[str | None]) -> None:
    """Remove the export before the former one, as the manifest named it, and what killed exports have begun."""
    killed = [one.name for one in out.entries() if _is_mark(one.name) and time.time() - one.modified > _KILLED]
    for name in (old, *map(_marked, killed)):
        if isinstance(name, str) and _FOLDER.match(name) and name not in keep:
            with suppress(OSError):
                out.remove_folder(name)
    for mark in killed:
        out.remove(mark)


def _disk_error(error: BaseException) -> str | None:
    """Return what the operating system said, if it was the disk that failed."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if isinstance(error, SPARK_ERRORS) or "java.io" in str(error):
        text = str(error)
        known = [os.strerror(number) for number in _DISK]  # the JVM repeats the operating system's words
        return next((words for words in known if words in text), None)
    return None
