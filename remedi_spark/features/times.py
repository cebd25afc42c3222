"""The day of an event from whatever its time is given as: dates, timestamps, text, and numbers of known forms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql import types as T

from remedi_spark.errors import InputError
from remedi_spark.features.expressions import require, sql_literal
from remedi_spark.spark.names import quoted

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

WITH_OFFSET = r"\d{2}:\d{2}.*(Z|[+-]\d{2}(:?\d{2})?)$"
"""Times in text that carry their time zone."""
_DIGITS = r"^\s*[+-]?\d+(\.0*)?\s*$"
_DASHED_MONTH = r"^\s*\d{4}-\d{1,2}\s*$"
_FORMS = (
    (r"^\s*(\d{1,2})\.(\d{1,2})\.(\d{4})", "$3-$2-$1"),  # 31.12.2024
    (r"^\s*(\d{4})/(\d{1,2})/(\d{1,2})", "$1-$2-$3"),
)
"""Dates in text that can be read in one way only, and the same as ISO dates."""


def day_of(frame: DataFrame, name: str, zone: str | None, months: str | None, where: str) -> Column:
    """Return the day of a time in the session's time zone; null where it is none, or outside of the years 1 to 9999.

    A number, or a text of digits, is read by its size: ``20240131``, days since 1970 up to 100,000 (the year 2243),
    and seconds, milliseconds, microseconds or nanoseconds since 1970 from 1973 on.

    Parameters
    ----------
    zone
        Zone of times that carry none; None: the session's.
    months
        ``first`` or ``last``: the day that ``202401`` and ``2024-01`` stand for; None: they are null.
    """
    require(frame, name, where)
    found = frame.schema[name].dataType
    value = quoted(name)
    if isinstance(found, T.NumericType):
        # A part of a second may be there, a part of a day is an amount of something.
        whole = f"CASE WHEN {value} = floor({value}) OR {value} > 100000000 THEN CAST(floor({value}) AS BIGINT) END"
        day = _day_of_number(f"CAST({value} AS BIGINT)" if _whole(found) else f"({whole})")
        month = _month_of_number(name, found)
    elif isinstance(found, T.StringType | T.CharType | T.VarcharType):
        day, month = _day_of_text(value, zone), _month_of_text(value)
    elif isinstance(found, T.TimestampNTZType):
        day, month = _moved(value, zone), None
    elif isinstance(found, T.DateType | T.TimestampType):
        day, month = F.to_date(value), None
    else:
        raise InputError(f"{where}: {name!r} is of type {found.simpleString()}, expected a date or a timestamp")
    if month is not None and months is not None:
        day = F.coalesce(month if months == "first" else F.last_day(month), day)
    # Python knows no other years, and no calendar of events has them.
    return F.when(day.between(F.to_date(F.lit("0001-01-01")), F.to_date(F.lit("9999-12-31"))), day)


def moment_of(frame: DataFrame, name: str, zone: str | None, day: Column) -> Column:
    """Return the timestamp of a time whose ``day`` is known: midnight where the time is no more than a day."""
    found, value = frame.schema[name].dataType, quoted(name)
    if isinstance(found, T.DateType):
        return day.cast("timestamp")
    if isinstance(found, T.TimestampType):
        moment = F.col(value)
    elif isinstance(found, T.TimestampNTZType):
        moment = _at_home(value, zone)
    elif isinstance(found, T.NumericType):
        moment = _moment_of_number(f"CAST({value} AS BIGINT)")
    else:
        iso = _iso(value)
        number = _moment_of_number(f"try_cast({value} AS BIGINT)")
        zoned, plain = F.expr(f"try_cast({iso} AS timestamp)"), _at_home(f"try_cast({iso} AS timestamp_ntz)", zone)
        moment = (
            F.when(F.col(value).rlike(_DIGITS), number).when(F.col(value).rlike(WITH_OFFSET), zoned).otherwise(plain)
        )
    # A date as a number, or a month: the moment that its digits would be is another one.
    return F.when(F.to_date(moment) == day, moment).otherwise(day.cast("timestamp"))


def months_in(frame: DataFrame, name: str) -> Column:
    """Whether a time is a month (``202401``, ``2024-01``)."""
    found = frame.schema[name].dataType
    if isinstance(found, T.NumericType):
        return _month_of_number(name, found).isNotNull()
    if isinstance(found, T.StringType):
        return _month_of_text(quoted(name)).isNotNull()
    return F.lit(False)


def _whole(found: T.DataType) -> bool:
    return isinstance(found, T.IntegralType)


def _day_of_number(value: str) -> Column:
    text = f"CAST({value} AS STRING)"
    date = f"try_cast(concat(substr({text}, 1, 4), '-', substr({text}, 5, 2), '-', substr({text}, 7, 2)) AS DATE)"
    size = f"abs({value})"
    return F.expr(
        f"CASE WHEN {value} BETWEEN 19000101 AND 29991231 THEN {date}"
        f" WHEN {value} BETWEEN 190001 AND 299912 THEN NULL"
        f" WHEN {value} BETWEEN 0 AND 100000 THEN date_add(DATE '1970-01-01', CAST({value} AS INT))"
        f" WHEN {size} BETWEEN 100000000 AND 99999999999 THEN CAST(timestamp_seconds({value}) AS DATE)"
        f" WHEN {size} BETWEEN 100000000000 AND 99999999999999 THEN CAST(timestamp_millis({value}) AS DATE)"
        f" WHEN {size} BETWEEN 100000000000000 AND 99999999999999999 THEN CAST(timestamp_micros({value}) AS DATE)"
        f" WHEN {size} > 99999999999999999 THEN CAST(timestamp_micros({value} div 1000) AS DATE) END"
    )


def _moment_of_number(value: str) -> Column:
    size = f"abs({value})"
    return F.expr(
        f"CASE WHEN {size} BETWEEN 100000000 AND 99999999999 THEN timestamp_seconds({value})"
        f" WHEN {size} BETWEEN 100000000000 AND 99999999999999 THEN timestamp_millis({value})"
        f" WHEN {size} BETWEEN 100000000000000 AND 99999999999999999 THEN timestamp_micros({value})"
        f" WHEN {size} > 99999999999999999 THEN timestamp_micros({value} div 1000) END"
    )


def _month_of_number(name: str, found: T.DataType) -> Column:
    value = F.col(quoted(name))
    whole = value if _whole(found) else F.when(value == F.floor(value), value)
    return _first_of(whole.cast("bigint").cast("string"))


def _month_of_text(value: str) -> Column:
    compact = F.regexp_replace(F.trim(F.col(value)), r"\.0*$", "")
    dashed = F.expr(f"try_cast(concat(trim({value}), '-01') AS DATE)")
    return F.when(F.col(value).rlike(_DASHED_MONTH), dashed).otherwise(_first_of(compact))


def _first_of(digits: Column) -> Column:
    """Return the first day of a month written as ``yyyyMM``, null for anything else."""
    month = digits.rlike("^(19|2[0-9])[0-9]{2}(0[1-9]|1[0-2])$")
    return F.when(month, F.to_date(F.concat(digits, F.lit("01")), "yyyyMMdd"))


def _day_of_text(value: str, zone: str | None) -> Column:
    iso = _iso(value)
    plain = f"try_cast({iso} AS {'date' if zone is None else 'timestamp_ntz'})"
    zoned = f"CAST(try_cast({iso} AS timestamp) AS date)"
    number = f"try_cast(regexp_replace(trim({value}), {sql_literal('[.]0*$')}, '') AS BIGINT)"
    text = F.col(value)
    # A year or a month alone is no day, though Spark reads it as its first (and `202401` as a year).
    return (
        F.when(text.rlike(r"^\s*\d{4}\s*$") | text.rlike(_DASHED_MONTH), F.lit(None).cast("date"))
        .when(text.rlike(_DIGITS), _day_of_number(number))
        .when(text.rlike(WITH_OFFSET), F.expr(zoned))
        .otherwise(_moved(plain, zone))
    )


def _iso(value: str) -> str:
    for pattern, replacement in _FORMS:
        value = f"regexp_replace({value}, {sql_literal(pattern)}, {sql_literal(replacement)})"
    return value


def _at_home(value: str, zone: str | None) -> Column:
    """Return a time without a zone as a timestamp."""
    moved = value if zone is None else f"convert_timezone({sql_literal(zone)}, current_timezone(), {value})"
    return F.expr(f"CAST({moved} AS timestamp)")


def _moved(value: str, zone: str | None) -> Column:
    """Return the day of a time without a zone."""
    if zone is None:
        return F.to_date(F.expr(value))
    return F.to_date(F.expr(f"convert_timezone({sql_literal(zone)}, current_timezone(), {value})"))
