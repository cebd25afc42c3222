"""The user's CSV files: read as text, then one job over all values decides what each column is.

Spark's own inference takes ``007`` and ``1D`` for numbers and ``13:45`` for a moment of today.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql import types as t

from remedi_spark.errors import InputError
from remedi_spark.progress import warn
from remedi_spark.reading.column_notes import DECIMAL, MISSING, ZEROS, notes, unique_names
from remedi_spark.reading.csv_text import WINDOWS, WINDOWS_HOLES, CsvForm, csv_form, header_of
from remedi_spark.reading.csv_types import PANDAS_MARKS, ColumnType, form, parsed, type_of
from remedi_spark.reading.paths import data_files, is_remote, local_path
from remedi_spark.spark.literal_paths import literally

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, Row, SparkSession

ENDINGS = (".csv", ".csv.gz", ".tsv", ".tsv.gz")
_HEAD_LINES = 200
_HIGH = bytes(one for one in range(0x80, 0xA0) if one not in WINDOWS_HOLES)
_LETTERS = _HIGH.decode("iso-8859-1"), _HIGH.decode(WINDOWS)
"""What bytes from 0x80 to 0x9f are in ISO-8859-1, and in Windows-1252."""


def read_csv(
    spark: SparkSession, table: str, *, as_text: Collection[str] = (), roles: Collection[str] = ()
) -> DataFrame:
    """Read a CSV file or a folder of them, with a header.

    Args:
        spark: the session.
        table: path or address.
        as_text: columns that stay text as it is written.
        roles: columns that keep their names where others differ from them only in case.

    Raises:
        InputError: it is no CSV, or its rows do not fit its header.
    """
    paths = [] if is_remote(table) else data_files(local_path(table), ENDINGS)
    if not paths and not is_remote(table):
        raise InputError(f"table {table}: holds no CSV file; check the path")
    found = _remote_form(spark, table) if is_remote(table) else csv_form(table, paths)
    if found.encoding == WINDOWS:
        warn("table", f"{table}: is not UTF-8; read as Windows-1252")
    raw = _as_text(spark, table, [str(path) for path in paths] or [table], found)
    facts = _facts(raw, found, as_text)
    _refuse_ragged(table, found, facts)
    comma = found.separator != ","
    chosen = []
    for i, (name, inner) in enumerate(zip(found.names, unique_names(found.names, roles), strict=True)):
        kind = ColumnType("string") if name in as_text else type_of(facts[f"form{i}"] or 0, comma=comma)
        more = notes(name, inner, **_notes(i, kind, facts, comma=comma and name in as_text))
        value: Column = F.expr(parsed(f"c{i}", kind.name, comma=kind.comma))
        chosen.append(value.alias(inner, metadata=more) if more else value.alias(inner))
    return raw.select(*chosen)


def _remote_form(spark: SparkSession, table: str) -> CsvForm:
    lines = [row[0] for row in spark.read.text(table).limit(_HEAD_LINES).collect()]
    separator, names = header_of("\n".join(lines) + "\n", table, table.lower())
    return CsvForm("UTF-8", separator, names, True)


def _as_text(spark: SparkSession, table: str, paths: list[str], found: CsvForm) -> DataFrame:
    """Return c0 … cn as text, and one column more for what rows have too much."""
    windows = found.encoding == WINDOWS
    options = {
        "header": "true", "sep": found.separator, "quote": '"', "escape": '"',
        "encoding": "ISO-8859-1" if windows else found.encoding,
        "multiLine": str(found.breaks).lower(), "maxCharsPerColumn": "-1",
    }  # fmt: skip
    schema = t.StructType([t.StructField(f"c{i}", t.StringType()) for i in range(len(found.names) + 1)])
    reader = spark.read.options(**options).schema(schema)
    if not is_remote(table):
        reader, paths = literally(reader, spark, paths)
    rows = reader.csv(paths)
    # Spark 4 reads a handful of encodings; these two differ in what one of them has no letters for.
    return rows.select(*(F.translate(name, *_LETTERS).alias(name) for name in rows.columns)) if windows else rows


def _facts(raw: DataFrame, found: CsvForm, as_text: Collection[str]) -> Row:
    """Return, in one job, which forms the values of each column have, and what does not fit."""
    marks = ", ".join(f"'{mark}'" for mark in PANDAS_MARKS)
    damaged = [F.col(f"c{i}").contains("\ufffd") for i in range(len(found.names))]
    columns = [
        F.count("*").alias("rows"),
        F.count(f"c{len(found.names)}").alias("too_long"),
        F.max(F.greatest(F.lit(False), *damaged)).alias("odd"),
    ]
    for i, name in enumerate(found.names):
        if name in as_text:
            continue
        mark = F.expr(f"CASE WHEN c{i} IN ({marks}) THEN c{i} END")
        columns += [
            F.bit_or(form(f"c{i}")).alias(f"form{i}"), F.min(mark).alias(f"first{i}"), F.max(mark).alias(f"last{i}"),
            F.count(f"c{i}").alias(f"known{i}"),
        ]  # fmt: skip
    return raw.agg(*columns).collect()[0]


def _refuse_ragged(table: str, found: CsvForm, facts: Row) -> None:
    if facts["too_long"]:
        raise InputError(
            f"table {table}: {facts['too_long']} rows have more fields than the header's {len(found.names)} (separated"
            f" by {found.separator!r}); put quotes around texts that hold the separator, or name all columns"
        )
    if facts["odd"] and is_remote(table):
        raise InputError(f"table {table}: is not UTF-8; convert it to UTF-8")
    if facts["odd"] and found.encoding == "UTF-8":
        warn("table", f"{table}: holds replacement characters (U+FFFD): letters were lost before it was written")


def _notes(i: int, kind: ColumnType, facts: Row, *, comma: bool) -> dict[str, object]:
    """Return what the features keep of how a column was written."""
    if f"form{i}" not in facts.__fields__:
        return {DECIMAL: "," if comma else None}
    if kind.name != "string":
        return {DECIMAL: "," if kind.comma else None}
    one = (
        facts[f"first{i}"] if facts[f"first{i}"] == facts[f"last{i}"] and facts[f"known{i}"] == facts["rows"] else None
    )
    return {ZEROS: "lost" if kind.zeros else "kept", MISSING: one}
