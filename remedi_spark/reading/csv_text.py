"""What the text of CSV files says before Spark reads them: encoding, separator, names, and breaks inside quotes."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from remedi_spark.errors import InputError
from remedi_spark.reading.paths import kind_of_file

SEPARATORS = (",", ";", "\t", "|")
_HEAD = 1 << 20
_CHUNK = 1 << 22
_SAMPLE_RECORDS = 200
WINDOWS = "windows-1252"
WINDOWS_HOLES = bytes((0x81, 0x8D, 0x8F, 0x90, 0x9D))
"""Bytes that stand for nothing in Windows-1252."""


@dataclass(frozen=True)
class CsvForm:
    """How a CSV is written. ``breaks``: whether a field may hold line breaks, so that lines cannot be told apart."""

    encoding: str
    separator: str
    names: tuple[str, ...]
    breaks: bool


def csv_form(table: str, files: Sequence[Path]) -> CsvForm:
    """Look through local CSV files, which must be written alike.

    Raises:
        InputError: a file is empty, is no CSV, is neither UTF-8 nor Windows-1252, or its header differs.
    """
    looks = [_encoding_of(path) for path in files]
    encodings = {encoding for encoding, _, _ in looks if encoding != "ascii"}
    if len(encodings) > 1:
        raise InputError(
            f"table {table}: its files are encoded differently ({', '.join(sorted(encodings))}); write all as UTF-8"
        )
    encoding = next(iter(encodings), "UTF-8")
    separator, names = "", tuple[str, ...]()
    for path in files:
        found = header_of(_head(path, encoding), str(path), path.name.lower())
        if names and found != (separator, names):
            raise InputError(f"table {table}: {path.name} has another header than {files[0].name}; expected the same")
        separator, names = found
    return CsvForm(encoding, separator, names, encoding == "UTF-16" or any(breaks for _, breaks, _ in looks))


def header_of(head: str, where: str, name: str = "") -> tuple[str, tuple[str, ...]]:
    """Return separator and column names of the beginning of a CSV; a column without a name gets pandas' name for it.

    Raises:
        InputError: there is no header, or two columns have one name.

    >>> header_of("id;spend\\n1;2,5\\n", "t")
    (';', ('id', 'spend'))
    """
    text = head.removeprefix("\ufeff")
    if not text.strip():
        raise InputError(f"table {where}: the file is empty; expected a header and rows")
    separator = "\t" if ".tsv" in name else _separator(text)
    header = next((record for record in _records(text, separator) if record), [])
    names = tuple(one or f"Unnamed: {i}" for i, one in enumerate(header))
    twice = [one for one in dict.fromkeys(names) if names.count(one) > 1]
    if twice:
        raise InputError(
            f"table {where}: has {names.count(twice[0])} columns named {twice[0]!r}; give each column its own name"
        )
    return separator, names


def _separator(text: str) -> str:
    """Return the separator that gives all records as many fields as the header, and the most of them."""
    best, most = ",", 1
    for separator in SEPARATORS:
        lengths = [len(record) for record in _records(text, separator) if record]
        agreeing = np.mean([length == lengths[0] for length in lengths]) if lengths else 0.0
        if lengths and agreeing >= 0.9 and lengths[0] > most:
            best, most = separator, lengths[0]
    if most > 1:
        return best
    first = text.splitlines()[0]
    return max(SEPARATORS, key=lambda one: (first.count(one), -SEPARATORS.index(one)))


def _records(text: str, separator: str) -> list[list[str]]:
    found: list[list[str]] = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        for record in reader:
            found.append(record)
            if len(found) > _SAMPLE_RECORDS:
                return found
    except csv.Error:  # a field of megabytes, or a zero character
        return found
    return found[:-1] if len(text) >= _HEAD and len(found) > 1 else found  # the last one is cut off


def _encoding_of(path: Path) -> tuple[str, bool, int]:
    """Return encoding (``ascii`` where any will do), whether quotes hold line breaks, and the number of bytes."""
    utf8, windows = codecs.getincrementaldecoder("utf-8")(), True
    ascii_only, valid, breaks, odd, size = True, True, False, 0, 0
    for chunk in _chunks(path):
        if not size and chunk.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return "UTF-16", True, len(chunk)
        size += len(chunk)
        data = np.frombuffer(chunk, dtype=np.uint8)
        if not breaks:
            quotes = np.cumsum(data == ord('"')) + odd
            breaks = bool((quotes[(data == 10) | (data == 13)] % 2).any())
            odd = int(quotes[-1] % 2)
        if 0 in chunk:
            raise InputError(f"table {path}: holds zero bytes, so it is no CSV in UTF-8; write it as CSV in UTF-8")
        ascii_only = ascii_only and chunk.isascii()
        if valid and not ascii_only:
            try:
                utf8.decode(chunk)
            except UnicodeDecodeError:
                valid = False
        windows = windows and not any(hole in chunk for hole in WINDOWS_HOLES)
    if not size:
        raise InputError(f"table {path}: the file is empty; expected a header and rows")
    if ascii_only:
        return "ascii", breaks, size
    if valid and not utf8.getstate()[0]:
        return "UTF-8", breaks, size
    if not windows:
        raise InputError(f"table {path}: is neither UTF-8 nor Windows-1252; convert it to UTF-8")
    return WINDOWS, breaks, size


def _head(path: Path, encoding: str) -> str:
    """Return the beginning of a file as text."""
    data = next(_chunks(path), b"")[:_HEAD]
    return data.decode("utf-16" if encoding == "UTF-16" else encoding, errors="replace")


def _chunks(path: Path) -> Iterator[bytes]:
    named_gz = path.name.lower().endswith(".gz")
    try:
        with path.open("rb") as raw:
            kind = kind_of_file(raw.read(16))
            if kind is not None and not (named_gz and kind == "compressed with gzip"):
                hint = "rename it to .csv.gz" if kind == "compressed with gzip" else "unpack it, or write it as CSV"
                raise InputError(f"table {path}: is {kind}, not CSV as its name says; {hint}")
            if named_gz and kind is None and path.stat().st_size:
                raise InputError(f"table {path}: is not compressed with gzip as its name says; rename it to .csv")
            raw.seek(0)
            stream: IO[bytes] = gzip.GzipFile(fileobj=raw) if named_gz else raw  # type: ignore[assignment]
            while chunk := stream.read(_CHUNK):
                yield chunk
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(
            f"table {path}: cannot be read ({str(error) or type(error).__name__}); check its permissions, or copy it"
            " again"
        ) from error
