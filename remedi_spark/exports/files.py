"""Scores as Parquet or CSV files with a manifest, put in place in one step.

``OUT/manifest.json`` names the folder that holds the rows; it is written last and replaced in one step, so that whoever
starts from it sees the former export or the new one, whole. The folder of the former export is kept until the next
one: readers that began with it can finish.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from py4j.protocol import Py4JJavaError
from pyspark.sql import functions as F

from remedi_spark import data_contract
from remedi_spark.bundle.store import write_json
from remedi_spark.errors import InputError
from remedi_spark.exports.selection import Selection, reasons_as_text
from remedi_spark.progress import say
from remedi_spark.version import __version__

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

MANIFEST = "manifest.json"
Format = Literal["parquet", "csv"]
_DISK = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EACCES, errno.EROFS)
_CSV = {
    "header": "true", "escape": '"', "timestampFormat": "yyyy-MM-dd'T'HH:mm:ssXXX",
    "ignoreLeadingWhiteSpace": "false", "ignoreTrailingWhiteSpace": "false",  # Spark would trim ids
}  # fmt: skip


def export_files(selection: Selection, source: str, out: Path, kind: Format) -> dict[str, Any]:
    """Write the rows and their manifest; return the manifest.

    Args:
        selection: what to write.
        source: the table that it comes from, for the manifest.
        out: folder of the export; created, or a former export.
        kind: format of the files.

    Raises:
        InputError: ``out`` is something else, or cannot be written (disk full); the former export then stands.
    """
    former = _former(out)
    folder = out / f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"
    try:
        out.mkdir(parents=True, exist_ok=True)
        manifest = _write(selection, source, folder, kind)
        write_json(out / MANIFEST, manifest, private=False)
    except Exception as error:
        shutil.rmtree(folder, ignore_errors=True)
        reason = _disk_error(error)
        if reason is None:
            raise
        raise InputError(
            f"output {out}: {reason}; the former export, if any, stands as it was; make room and run again"
        ) from error
    _tidy(out, keep={folder.name, former})
    say("export", f"{selection.count} rows in {len(manifest['files'])} files of {folder}")
    return manifest


def _former(out: Path) -> str | None:
    """Return the folder of the former export; refuse an ``out`` that is something else."""
    if "://" in str(out) or ":/" in str(out):
        raise InputError(f"output {out}: expected a folder that the driver can write, such as a mounted volume")
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    try:
        return str(json.loads((out / MANIFEST).read_text(encoding="utf-8"))["folder"])
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"output {out}: exists and is not an export; expected a new folder or a former export"
        ) from error


def _write(selection: Selection, source: str, folder: Path, kind: Format) -> dict[str, Any]:
    rows = reasons_as_text(selection.rows) if kind == "csv" else selection.rows
    writer = rows.write.format(kind)
    with _standard_timestamps(rows.sparkSession):
        (writer.options(**_CSV) if kind == "csv" else writer).save(str(folder))
    counts = _counts(rows, folder, kind)
    if sum(counts.values()) != selection.count:
        raise RuntimeError(f"{folder}: {sum(counts.values())} rows were written, expected {selection.count}")
    files = [
        {"name": path.name, "bytes": path.stat().st_size, "rows": counts.get(path.name, 0), "sha256": _sha256(path)}
        for path in sorted(folder.glob(f"*.{kind}"))
    ]
    for other in (*folder.glob(".*.crc"), *folder.glob("_SUCCESS")):
        other.unlink()
    return {
        "contract": data_contract.VERSION,
        "remedi_spark": __version__,
        "created_at": datetime.now(UTC).replace(microsecond=0).isoformat(),
        "source": source,
        "format": kind,
        "folder": folder.name,
        "rows": selection.count,
        "slices": [
            {"snapshot_date": _text(one.snapshot), "model_version": one.model_version, "run_id": one.run_id,
             "scored_at": _text(one.scored_at), "rows": one.rows}
            for one in selection.slices
        ],
        "columns": _columns(rows),
        "files": files,
    }  # fmt: skip


@contextmanager
def _standard_timestamps(spark: SparkSession) -> Iterator[None]:
    """Write Parquet's own UTC timestamps: Spark's default, INT96, says nothing of a zone to other readers."""
    name = "spark.sql.parquet.outputTimestampType"
    before = str(spark.conf.get(name))
    spark.conf.set(name, "TIMESTAMP_MICROS")
    try:
        yield
    finally:
        spark.conf.set(name, before)


def _counts(rows: DataFrame, folder: Path, kind: Format) -> dict[str, int]:
    """Read back what was written; return the rows of each file."""
    reader = rows.sparkSession.read.schema(rows.schema).format(kind)
    written = (reader.options(**_CSV, multiLine="true") if kind == "csv" else reader).load(str(folder))
    found = written.groupBy(F.input_file_name().alias("file")).count().collect()
    return {Path(row["file"]).name: row["count"] for row in found}


def _columns(rows: DataFrame) -> list[dict[str, Any]]:
    nullable = {column.name: column.nullable for column in data_contract.SCORES}
    return [
        {"name": field.name, "type": field.dataType.simpleString(), "nullable": nullable[field.name],
         "comment": data_contract.COMMENTS[field.name]}
        for field in rows.schema.fields
    ]  # fmt: skip


def _text(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else value


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _tidy(out: Path, keep: set[str | None]) -> None:
    """Remove the folders of exports before the former one, and of those that were killed."""
    for path in out.iterdir():
        if path.is_dir() and path.name not in keep:
            shutil.rmtree(path, ignore_errors=True)


def _disk_error(error: Exception) -> str | None:
    """Return what the operating system said, if it was the disk that failed."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if isinstance(error, Py4JJavaError) or "java.io" in str(error):
        text = str(error)
        known = [os.strerror(number) for number in _DISK]  # the JVM repeats the operating system's words
        return next((words for words in known if words in text), None)
    return None
