"""SQL expressions, names and literals of the configuration, checked against the columns they are used on."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from pyspark.errors import AnalysisException
from pyspark.sql import functions as F
from pyspark.sql import types as T

from remedi_spark.errors import InputError, nearest

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


def column(frame: DataFrame, sql: str, where: str) -> Column:
    """Return the SQL expression as a column; an unknown column in it is an error that names the nearest one."""
    expression_type(frame, sql, where)
    return F.expr(sql)


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
        return frame.select(F.expr(_plain_name(frame, sql))).schema[0].dataType
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


def _plain_name(frame: DataFrame, sql: str) -> str:
    return quoted(sql) if sql in frame.columns else sql


def quoted(name: str) -> str:
    """Return the column name as an SQL identifier."""
    return "`" + name.replace("`", "``") + "`"


def slug(level: str) -> str:
    """Return the level as part of a name: lower case, letters, digits and single underscores."""
    plain = unicodedata.normalize("NFKD", level).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "_", plain).strip("_") or "blank"


def sql_literal(value: str) -> str:
    """Return the value as an SQL string literal."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
