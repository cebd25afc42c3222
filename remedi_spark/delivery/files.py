"""Scores as Parquet or CSV files with a manifest, put in place in one step.

``OUT/manifest.json`` names the folder that holds the rows; it is written last and replaced in one step, so that whoever
starts from it sees the former export or the new one, whole. The folder of the former export is kept until the next
one: readers that began with it can finish. Nothing is removed but what an export has written: what the manifest names,
and what a mark beside it says that a killed export has begun.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pyspark.sql import functions as F

from remedi_spark.delivery.selection import Selection, reasons_as_text
from remedi_spark.errors import InputError
from remedi_spark.progress import log
from remedi_spark.scoring import scores_schema as data_contract
from remedi_spark.spark import files
from remedi_spark.spark.capabilities import asked_for, capabilities
from remedi_spark.spark.errors import SPARK_ERRORS
from remedi_spark.storage.csv_output import CSV_OPTIONS, without_formulas
from remedi_spark.storage.store import write_json
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
    selection: Selection, source: str, out: Path, kind: Format, *, escape_formulas: bool = True
) -> dict[str, Any]:
    """Write the rows and their manifest; return the manifest.

    Args:
        selection: what to write.
        source: the table that it comes from, for the manifest.
        out: folder of the export; created, or a former export.
        kind: format of the files.
        escape_formulas: CSV only: let no text be one that a spreadsheet would compute.

    Raises:
        InputError: ``out`` is something else, cannot be written (disk full), or is another folder for Spark than for
            this process; the former export then stands.
    """
    _stored(out)
    folder = out / f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"
    mark = _mark(folder)
    try:
        out.mkdir(parents=True, exist_ok=True)
        mark.touch()
        _require_shared(selection.rows.sparkSession, mark)
        rows = selection.rows if kind == "parquet" else reasons_as_text(selection.rows)
        if kind == "csv" and escape_formulas:
            rows = without_formulas(rows)
        manifest = _write(replace(selection, rows=rows), source, folder, kind)
        before = _stored(out)  # again: another export may have ended meanwhile
        write_json(out / MANIFEST, manifest | {"former": before.get("folder")}, private=False)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        reason = _disk_error(error)
        if reason is None:
            raise
        raise InputError(
            f"output {out}: {reason}; the former export, if any, stands as it was; make room and run again"
        ) from error
    finally:
        with suppress(OSError):
            mark.unlink(missing_ok=True)
    _tidy(out, before.get("former"), keep={folder.name, before.get("folder")})
    log("export", f"{selection.count} rows in {len(manifest['files'])} files of {folder}")
    return manifest


def _stored(out: Path) -> dict[str, Any]:
    """Return the manifest of the former export, {} without one; refuse an ``out`` that is something else."""
    if "://" in str(out) or ":/" in str(out):
        raise InputError(f"output {out}: expected a folder that the driver can write, such as a mounted volume")
    refusal = InputError(f"output {out}: exists and is not an export; expected a new folder or a former export")
    if not out.exists() or (out.is_dir() and all(_is_mark(path) for path in out.iterdir())):
        return {}
    if not (out / MANIFEST).exists():
        if out.is_dir() and all(_is_mark(path) or _mark(path).exists() for path in out.iterdir()):
            return {}  # a first export was killed, or is under way
        raise refusal
    try:
        manifest = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
        known = isinstance(manifest["folder"], str)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise refusal from error
    if not known:
        raise refusal
    return dict(manifest)


def _mark(folder: Path) -> Path:
    """Return the file that says, while an export runs, that its folder is an export's."""
    return folder.with_name(f".{folder.name}.begun")


def _is_mark(path: Path) -> bool:
    return path.name.startswith(".") and path.suffix == ".begun" and bool(_FOLDER.match(path.stem[1:]))


def _require_shared(spark: SparkSession, mark: Path) -> None:
    """Refuse a folder that Spark, whose default file system may be another, does not find where this process does."""
    if not capabilities(spark).has_jvm:
        return  # the rows are counted here once they are written
    if not files.exists(spark, str(mark)):
        there = files.system_of(spark, str(mark))
        raise InputError(
            f"output {mark.parent}: Spark writes there to {there}, which this process does not see; expected "
            "a folder of both, such as a mounted volume, or copy the table of scores with the platform's own tools"
        )


def _write(selection: Selection, source: str, folder: Path, kind: Format) -> dict[str, Any]:
    rows = selection.rows
    writer = rows.write.format(kind)
    with _standard_timestamps(rows.sparkSession):
        (writer.options(**_CSV) if kind == "csv" else writer).save(str(folder))
    counts = _counts(rows, folder, kind)
    _require_whole(counts, folder, selection.count)
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


def _require_whole(counts: dict[str, int], folder: Path, expected: int) -> None:
    """Check that this process finds all rows that the executors wrote."""
    here = sum(count for name, count in counts.items() if (folder / name).exists())
    if here == sum(counts.values()) == expected:
        return
    raise InputError(
        f"output {folder.parent}: of {expected} rows this process finds {here} there; executors of other machines "
        "must write to a folder that all of them share, such as a mounted volume"
    )


@contextmanager
def _standard_timestamps(spark: SparkSession) -> Iterator[None]:
    """Write Parquet's own UTC timestamps: Spark's default, INT96, says nothing of a zone to other readers."""
    with asked_for(spark, "spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS") as granted:
        if not granted:
            log("export", "the server keeps its own kind of Parquet timestamps, which may be INT96: read them as UTC")
        yield


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


def _tidy(out: Path, old: Any, keep: set[str | None]) -> None:
    """Remove the export before the former one, as the manifest named it, and what killed exports have begun."""
    killed = [path for path in out.iterdir() if _is_mark(path) and time.time() - path.stat().st_mtime > _KILLED]
    for name in (old, *(mark.stem[1:] for mark in killed)):
        if isinstance(name, str) and _FOLDER.match(name) and name not in keep:
            shutil.rmtree(out / name, ignore_errors=True)
    for mark in killed:
        mark.unlink(missing_ok=True)


def _disk_error(error: BaseException) -> str | None:
    """Return what the operating system said, if it was the disk that failed."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if isinstance(error, SPARK_ERRORS) or "java.io" in str(error):
        text = str(error)
        known = [os.strerror(number) for number in _DISK]  # the JVM repeats the operating system's words
        return next((words for words in known if words in text), None)
    return None
