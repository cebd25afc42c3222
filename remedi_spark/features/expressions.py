"""SQL expressions, names and literals of the configuration, checked against the columns they are used on."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
import zlib
from typing import TYPE_CHECKING, Any

from pyspark.errors import AnalysisException
from pyspark.sql import functions as F
from pyspark.sql import types as T

from remedi_spark.errors import InputError, nearest
from remedi_spark.spark.names import quoted

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


def column(frame: DataFrame, sql: str, where: str) -> Column:
    """Return the SQL expression as a column; an unknown column in it is an error that names the nearest one."""
    expression_type(frame, sql, where)
    return F.expr(as_sql(frame, sql))


def numeric(frame: DataFrame, sql: str, where: str) -> T.DataType:
    """Return the type of an expression that must be a number."""
    found = expression_type(frame, sql, where)
    if not isinstance(found, (T.NumericType, T.BooleanType)):
        raise InputError(
            f"{where}: {sql!r} is of type {found.simpleString()}, expected a number;"
            " use aggregate distinct for levels, or cast it"
        )
    return found


def expression_type(frame: DataFrame, sql: str, where: str) -> T.DataType:
    """Return the type that an SQL expression has over the frame's columns."""
    try:
        return frame.select(F.expr(as_sql(frame, sql))).schema[0].dataType
    except AnalysisException as error:
        message = str(error)
        unknown = re.search(r"parameter with name `(.+?)` cannot be resolved", message)
        if unknown is None:
            raise InputError(f"{where}: {sql!r} is not a valid expression: {message.splitlines()[0]}") from error
        name = unknown.group(1)
        raise InputError(f"{where}: no column {name!r} in {sql!r}{nearest(name, frame.columns)}") from error


def require(frame: DataFrame, name: str, where: str) -> None:
    """Raise an error that names the nearest column when the frame has no column ``name``."""
    if name not in frame.columns:
        raise InputError(
            f"{where}: no column {name!r}{nearest(name, frame.columns)} (columns: {', '.join(frame.columns[:20])})"
        )


def as_sql(frame: DataFrame, sql: str) -> str:
    """Return an SQL expression, or the quoted name where a column is called just so (``properties.amount``)."""
    return quoted(sql) if sql in frame.columns else sql


def slug(level: str) -> str:
    """Return the level as part of a name: lower case, letters of any script, digits and single underscores."""
    apart = unicodedata.normalize("NFKD", level)
    plain = "".join(letter for letter in apart if not unicodedata.combining(letter))
    composed = unicodedata.normalize("NFC", plain).lower()
    return re.sub(r"[\W_]+", "_", composed).strip("_") or "blank"


def word(name: str) -> str:
    """Return a declared name as part of the names of tables and columns; unlike names stay unlike."""
    if re.fullmatch(r"[a-z][a-z0-9_]*", name):
        return name
    plain = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    return f"{plain or 'x'}_{zlib.crc32(name.encode()):08x}"


def digest(definition: Any, digits: int = 32) -> str:
    """Return the same hexadecimal digits for equal definitions (anything that JSON holds), others for unlike ones."""
    return hashlib.sha256(json.dumps(definition, sort_keys=True).encode()).hexdigest()[:digits]


def sql_literal(value: str) -> str:
    """Return the value as an SQL string literal."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
