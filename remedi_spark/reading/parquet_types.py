"""How a column of a Parquet file is asked for, and what becomes of it: Spark 3.5 refuses some types by their names.

With a schema of our own Spark reads the stored numbers and bytes whatever they are called: nanoseconds as a long, a
UUID as bytes. Only a file with 16-bit floats it cannot open at all; pyarrow reads that.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from pyspark.sql import Column

How = Literal["plain", "nanoseconds", "nanoseconds, no zone", "uuid", "null", "left out", "by pyarrow"]
ARROW_ONLY: How = "by pyarrow"
_SPARK_PRECISION = 38
_ODD_INSIDE = ("[ns", "time32", "time64", "halffloat", "decimal256", "uuid", "null", "uint", "dictionary", "duration")
"""Types that are converted at the top of a table, but not inside of other types."""

_NESTED = re.compile(r"(?!.*[<,]\d+:)[\w<>:,()]+")
"""Types whose fields have names that Spark's text for a type can hold."""


@dataclass(frozen=True)
class ColumnPlan:
    """One column of a file: Spark's type to ask for, and what is done with it."""

    name: str
    data_type: str
    how: How = "plain"
    found: str = ""
    """The file's own type, for messages."""

    @property
    def by_arrow(self) -> bool:
        """Whether pyarrow must read the file: Spark cannot open one with 16-bit floats, wherever they are."""
        return self.how == ARROW_ONLY or "halffloat" in self.found

    @property
    def result(self) -> str:
        """Spark's type of the column that the user's table has in the end."""
        made = {"nanoseconds": "timestamp", "nanoseconds, no zone": "timestamp_ntz", "uuid": "string", "null": "void"}
        return made.get(self.how, self.data_type)


def column_plans(parquet: Any) -> list[ColumnPlan]:
    """Return the plans of the top-level columns of an open ``pyarrow.parquet.ParquetFile``."""
    import pyarrow as pa

    leaves = {}
    for i in range(len(parquet.schema)):
        leaf = parquet.schema.column(i)
        leaves[leaf.path] = leaf
    return [
        _nested(field.name, field.type)
        if field.name not in leaves or pa.types.is_nested(field.type)
        else _plan(field.name, field.type, leaves[field.name])
        for field in parquet.schema_arrow
    ]


def _nested(name: str, kind: Any) -> ColumnPlan:
    """Return the plan of a list, struct or map: read where Spark can read all that is in it."""
    from pyspark.errors import PySparkException
    from pyspark.sql.pandas.types import from_arrow_type

    found = str(kind)
    if any(odd in found for odd in _ODD_INSIDE):
        return ColumnPlan(name, "", "left out", found)
    try:
        wanted = from_arrow_type(kind, prefer_timestamp_ntz=True).simpleString()
    except (PySparkException, ValueError):
        wanted = ""
    readable = _NESTED.fullmatch(wanted) is not None
    return ColumnPlan(name, wanted if readable else "", "plain" if readable else "left out", found)


def _plan(name: str, kind: Any, leaf: Any) -> ColumnPlan:  # noqa: PLR0911 (one line a type)
    import pyarrow.types as p

    found = str(kind)
    logical = json.loads(leaf.logical_type.to_json())
    if logical.get("Type") == "UUID":
        return ColumnPlan(name, "binary", "uuid", "UUID")
    if p.is_dictionary(kind):
        kind = kind.value_type
    if leaf.physical_type == "INT96":
        return ColumnPlan(name, "timestamp", "plain", found)
    if p.is_timestamp(kind):
        return _timestamp(name, logical, found)
    if p.is_decimal(kind):
        fits = kind.precision <= _SPARK_PRECISION
        wanted = f"decimal({kind.precision},{kind.scale})" if fits else "double"
        return ColumnPlan(name, wanted, "plain" if fits else ARROW_ONLY, found)
    if p.is_null(kind):
        return ColumnPlan(name, "int", "null", found)
    if p.is_float16(kind):
        return ColumnPlan(name, "float", ARROW_ONLY, found)
    simple = _simple(kind)
    return ColumnPlan(name, simple or "", "plain" if simple else "left out", found)


def _timestamp(name: str, logical: dict[str, Any], found: str) -> ColumnPlan:
    zoned = bool(logical.get("isAdjustedToUTC", True))
    if logical.get("timeUnit") == "nanoseconds":
        return ColumnPlan(name, "bigint", "nanoseconds" if zoned else "nanoseconds, no zone", found)
    return ColumnPlan(name, "timestamp" if zoned else "timestamp_ntz", "plain", found)


def _simple(kind: Any) -> str | None:
    import pyarrow.types as p

    checks = {
        "boolean": p.is_boolean, "tinyint": p.is_int8, "smallint": lambda one: p.is_int16(one) or p.is_uint8(one),
        "int": lambda one: p.is_int32(one) or p.is_uint16(one),
        "bigint": lambda one: p.is_int64(one) or p.is_uint32(one) or p.is_duration(one), "decimal(20,0)": p.is_uint64,
        "float": p.is_float32, "double": p.is_float64, "date": p.is_date,
        "string": lambda one: p.is_string(one) or p.is_large_string(one) or p.is_string_view(one),
        "binary": lambda one: p.is_binary(one) or p.is_large_binary(one) or p.is_fixed_size_binary(one)
        or p.is_binary_view(one),
    }  # fmt: skip
    return next((name for name, check in checks.items() if check(kind)), None)


def converted(plan: ColumnPlan, value: Column) -> Column:
    """Return the column in its own type, of what Spark has read by ``plan.data_type``."""
    from pyspark.sql import functions as F

    if plan.how == "null":
        return F.lit(None)
    if plan.how == "uuid":
        parts = [F.substring(F.lower(F.hex(value)), first, length) for first, length in _UUID]
        return F.when(value.isNotNull(), F.concat_ws("-", *parts))
    if not plan.how.startswith("nanoseconds"):
        return value
    # Down to the microsecond below, as pandas does for times before 1970 too.
    exact = F.floor(value.cast("decimal(20,0)") / F.lit(1000)).cast("bigint")
    if plan.how == "nanoseconds":
        return F.timestamp_micros(exact)
    seconds = (exact.cast("decimal(20,0)") / F.lit(1_000_000)).cast("decimal(18,6)")
    zero = F.lit("1970-01-01 00:00:00").cast("timestamp_ntz")
    return zero + F.make_dt_interval(secs=seconds)


_UUID = ((1, 8), (9, 4), (13, 4), (17, 4), (21, 12))


def common_type(first: str, second: str) -> str | None:
    """Return the type that holds the values of both, or None when only a person can say which one is right.

    >>> common_type("bigint", "double"), common_type("void", "string"), common_type("string", "bigint")
    ('double', 'string', None)
    """
    whole, real = ("tinyint", "smallint", "int", "bigint"), ("float", "double")
    if second in (first, "void"):
        return first
    if first == "void":
        return second
    for kinds in (whole, (*whole, *real), ("date", "timestamp_ntz"), ("date", "timestamp")):
        if first in kinds and second in kinds:
            return max(first, second, key=kinds.index) if kinds[0] == "date" or kinds is whole else "double"
    numbers = [one for one in (first, second) if one.startswith("decimal") or one in (*whole, *real)]
    return "double" if len(numbers) == 2 else None
