"""Files of the user's tables on a file system that the driver can look at itself."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Sequence
from pathlib import Path

from remedi_spark.errors import InputError

HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+:/")
_WHOLE = re.compile(r"^-?(0|[1-9]\d{0,14})$")
_DAY = re.compile(r"^\d{4}-\d{2}-\d{2}$")
_MAGIC = {
    b"PAR1": "a Parquet file", b"PK\x03\x04": "a zip archive (or an Excel file)", b"\x1f\x8b": "compressed with gzip",
    b"BZh": "compressed with bzip2", b"\xfd7zXZ": "compressed with xz", b"(\xb5/\xfd": "compressed with zstd",
    b"\xd0\xcf\x11\xe0": "an old Excel file", b"ORC": "an ORC file", b"Obj\x01": "an Avro file",
    b"ARROW1": "a Feather file",
    b"%PDF": "a PDF", b"SQLite format 3": "an SQLite database",
}  # fmt: skip


def is_remote(table: str) -> bool:
    """Whether a name is an address of a file system that Spark alone knows."""
    return bool(_SCHEME.match(table)) and not _is_file_address(table)


def _is_file_address(table: str) -> bool:
    return table[:5].lower() == "file:"


def local_path(table: str) -> Path:
    """Return the absolute path of a table that is not remote."""
    if _is_file_address(table):
        return Path(urllib.parse.unquote(urllib.parse.urlsplit(table).path))
    return Path(table).absolute()


def data_files(path: Path, endings: Sequence[str]) -> list[Path]:
    """Return the files of a table, sorted: the file itself, or those below a folder that Spark does not call hidden.

    Where some of a folder end as they should, the others (a README) are no data.

    Raises:
        InputError: the file itself is one that Spark takes for hidden.
    """
    if path.is_file():
        if path.name.startswith(("_", ".")):
            raise InputError(
                f"table {path}: its name begins with {path.name[0]!r}, which Spark takes for a hidden file; rename it"
            )
        return [path]
    found = sorted(file for file in path.rglob("*") if not _hidden(file.relative_to(path).parts) and file.is_file())
    named = [file for file in found if file.name.lower().endswith(tuple(endings))]
    return named or found


def _hidden(parts: Sequence[str]) -> bool:
    return any(part.startswith(".") or (part.startswith("_") and "=" not in part) for part in parts)


def kind_of_file(head: bytes) -> str | None:
    """Return what the first bytes of a file say that it is; None for text and for what is not known."""
    return next((what for magic, what in _MAGIC.items() if head.startswith(magic)), None)


def partitions(files: Sequence[str], base: str) -> dict[str, str]:
    """Return names and Spark types of the columns that stand in folder names (``region=North``), in order.

    A type other than text needs every value to be a whole number without leading zeros, or a day.
    """
    values: dict[str, set[str]] = {}
    for file in files:
        inside = file[len(base) :] if file.startswith(base) else file
        for part in inside.split("/")[:-1]:
            name, equals, value = part.partition("=")
            if equals and name:
                found = values.setdefault(urllib.parse.unquote(name), set())
                if value != HIVE_NULL:
                    found.add(urllib.parse.unquote(value))
    return {name: _type_of(found) for name, found in values.items()}


def partition_values(file: str, base: str) -> dict[str, str | None]:
    """Return the values that stand in the folder names of one file."""
    pairs = [part.split("=", 1) for part in file[len(base) :].split("/")[:-1] if "=" in part]
    return {
        urllib.parse.unquote(name): None if value == HIVE_NULL else urllib.parse.unquote(value) for name, value in pairs
    }


def _type_of(values: set[str]) -> str:
    if values and all(_WHOLE.match(value) for value in values):
        return "bigint"
    return "date" if values and all(_DAY.match(value) for value in values) else "string"
