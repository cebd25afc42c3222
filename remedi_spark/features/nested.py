"""Columns from inside structs, arrays and JSON text, by path."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql import types as T

from remedi_spark.errors import InputError, nearest
from remedi_spark.features.expressions import require, sql_literal
from remedi_spark.spark.names import quoted

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from remedi_spark.config.sources import Nested, Source

LOOKED_AT = 1_000
"""Rows in which a JSON path must be found at least once."""
_STEP = re.compile(r"\.?([^.\[\]]+)|\[(\d+)\]")


def with_nested(frame: DataFrame, source: Source, where: str) -> DataFrame:
    """Add the declared columns, null where there is nothing at the path; an exploded array has a row a place.

    Raises InputError when a struct has no such field, and when what is on the way is neither struct, array nor text.
    """
    if taken := sorted({name.casefold() for name in source.nested} & {name.casefold() for name in frame.columns}):
        raise InputError(f"{where}.nested: {taken} are columns of the events already; choose other names")
    rows = frame
    for name, nested in source.nested.items():
        if nested.explode is not None:  # first: other paths may lead into it
            places = F.explode(_places(frame, nested, f"{where}.nested.{name}"))
            rows = frame.select("*", places.alias(name))
            if nested.type is not None:
                rows = rows.withColumn(name, F.expr(f"try_cast({quoted(name)} AS {nested.type})"))
    plain = {name: nested for name, nested in source.nested.items() if nested.explode is None}
    found = {name: _at_path(rows, nested, f"{where}.nested.{name}") for name, nested in plain.items()}
    return rows.withColumns(found) if found else rows


def check_json(frame: DataFrame, source: Source, where: str) -> None:
    """Raise InputError when a JSON path is in none of the first rows: they say which keys there are."""
    for name, nested in source.nested.items():
        at = f"{where}.nested.{name}.{'path' if nested.explode is None else 'explode'}"
        first = _steps(nested.inside, at)[0]
        if first in source.nested or not isinstance(frame.schema[first].dataType, T.StringType):
            continue
        some = frame.filter(F.col(quoted(first)).isNotNull()).limit(LOOKED_AT)
        seen = F.count(_at_path(frame, nested, at) if nested.explode is None else _places(frame, nested, at))
        keys = F.array_distinct(F.flatten(F.collect_set(F.expr(f"json_object_keys({quoted(first)})"))))
        row = some.agg(F.count("*"), seen, keys).collect()[0]
        if row[0] and not row[1]:
            raise InputError(
                f"{at}: {nested.inside!r} is {'' if nested.explode is None else 'an array '}in none of {row[0]} rows"
                f"{nearest(nested.inside.split('.')[-1], row[2] or [])}; {first} has the keys"
                f" {', '.join(sorted(row[2] or [])[:20]) or 'of no JSON object'}"
            )


def _steps(path: str, where: str) -> list[str]:
    """Return the parts of a path, array places as ``[0]``."""
    found = [match[1] or f"[{match[2]}]" for match in _STEP.finditer(path)]
    if "".join(f".{step}" if step[0] != "[" else step for step in found) != f".{path}":
        raise InputError(f"{where}: {path!r} is no path; expected one such as payload.items[0].price")
    return found


def _at_path(frame: DataFrame, nested: Nested, where: str) -> Column:
    value, _ = _found(frame, nested.inside, f"{where}.path")
    return F.expr(value if nested.type is None else f"try_cast({value} AS {nested.type})")


def _places(frame: DataFrame, nested: Nested, where: str) -> Column:
    """Return the array whose places become events; of JSON text, its elements as text."""
    value, kind = _found(frame, nested.inside, f"{where}.explode")
    if isinstance(kind, T.StringType):
        # Anything but an array would be read as one of one place.
        return F.expr(f"CASE WHEN trim({value}) LIKE '[%' THEN from_json({value}, 'array<string>') END")
    if not isinstance(kind, T.ArrayType):
        raise InputError(
            f"{where}.explode: {nested.inside!r} is of type {kind.simpleString()}, expected an array, or JSON text with"
            " one; give its path, or 'path' for a single value"
        )
    return F.expr(value)


def _found(frame: DataFrame, path: str, where: str) -> tuple[str, T.DataType]:
    """Return the SQL of what is at a path, and its type."""
    first, *rest = _steps(path, where)
    require(frame, first, where)
    value, kind = quoted(first), frame.schema[first].dataType
    for place, step in enumerate(rest):
        if isinstance(kind, T.StringType):
            inside = "".join(one if one.startswith("[") else f"['{one}']" for one in rest[place:])
            return f"get_json_object({value}, {sql_literal('$' + inside)})", kind
        value, kind = _into(value, kind, step, where)
    return value, kind


def _into(value: str, kind: T.DataType, step: str, where: str) -> tuple[str, T.DataType]:
    """Return the SQL of what is one step further inside, and its type."""
    if isinstance(kind, T.ArrayType) and step.startswith("["):
        return f"get({value}, {int(step[1:-1])})", kind.elementType
    if isinstance(kind, T.MapType):
        return f"try_element_at({value}, {sql_literal(step)})", kind.valueType
    if isinstance(kind, T.StructType):
        if step not in kind.names:
            known = f"{nearest(step, kind.names)} (fields: {', '.join(kind.names[:20])})"
            raise InputError(f"{where}: no field {step!r}{known}")
        return f"{value}.{quoted(step)}", kind[step].dataType
    raise InputError(
        f"{where}: {step!r} is inside of type {kind.simpleString()}, expected a struct, an array with [0], or JSON text"
    )
