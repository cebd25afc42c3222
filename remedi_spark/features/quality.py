"""The data contract: what a table promises is checked before anything is computed, rows that break it are set aside.

A promise of the whole table (columns and types, freshness, one kind of time zone) stops the run when it is broken. A
promise of every row becomes one SQL condition; all of them are evaluated in one pass, and a row's reasons are the
conditions it fails. The rows without a reason are the ones that features are made of.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as F
from pyspark.sql import types as T

from remedi_spark.config.sources import Source
from remedi_spark.errors import InputError
from remedi_spark.features.expressions import column, require
from remedi_spark.features.ids import beyond_digits, id_text
from remedi_spark.features.sources import DAY, KNOWN, dated
from remedi_spark.features.times import WITH_OFFSET, day_of, months_in
from remedi_spark.spark.names import quoted
from remedi_spark.spark.schemas import data_type

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from remedi_spark.config.sources import Attributes, Contract

REASONS = "__reasons"
_FOUND = "__found_"


@dataclass(frozen=True)
class Findings:
    """What a check of one table found."""

    rows: int
    reasons: Mapping[str, int]
    """Rows by reason; a row with several reasons counts for each."""
    failed: int
    """Rows with at least one reason."""
    first: dt.date | None
    last: dt.date | None
    """Days of the first and the last good event; None without any, and for attributes."""
    future: int
    """Rows whose event time lies in the future; later they may become good."""
    days: frozenset[dt.date] = frozenset()
    """All days of good events."""


def check_schema(frame: DataFrame, contract: Contract, where: str) -> None:
    """Raise InputError when a promised column is missing or of another type, naming the nearest column."""
    for name, promised in contract.columns.items():
        require(frame, name, f"{where}.contract.columns")
        try:
            wanted = data_type(promised).simpleString()
        except Exception as error:
            raise InputError(
                f"{where}.contract.columns.{name}: {promised!r} is no Spark SQL type; expected one such as bigint,"
                " double, string, date or timestamp"
            ) from error
        found = frame.schema[name].dataType.simpleString()
        if found != wanted:
            raise InputError(f"{where}: column {name!r} is of type {found}, but the contract promises {wanted}")


def checked(
    frame: DataFrame,
    table: Source | Attributes,
    entity: str,
    where: str,
    others: Mapping[str, DataFrame],
    today: dt.date | None,
) -> DataFrame:
    """Return the table's rows with :data:`REASONS`, an array of what each breaks; for sources also their days.

    Args:
        others: All declared tables by name, for references.
        today: The day of the run; event times later than the day after it (time zones) lie in the future. None: any
            time.
    """
    check_schema(frame, table.contract, where)
    key = table.key or entity
    require(frame, key, f"{where}.key")
    conditions: dict[str, Column] = {f"no {key}": id_text(frame, key).isNull()}
    if isinstance(frame.schema[key].dataType, T.FloatType | T.DoubleType):
        conditions[f"{key} of more digits than its type holds"] = F.coalesce(beyond_digits(frame, key), F.lit(False))
    if isinstance(table, Source):
        rows = dated(frame, table, where)
        conditions[f"no time in {table.event_time}"] = F.col(DAY).isNull()
        if today is not None:
            conditions["event time in the future"] = is_future(today)
    else:
        rows = frame
        conditions |= _ends_too_early(frame, table, where)
    conditions |= _row_promises(frame, table.contract, f"{where}.contract")
    for number, (name, reference) in enumerate(table.contract.references.items()):
        require(frame, name, f"{where}.contract.references")
        found = f"{_FOUND}{number}"
        rows = _with_reference(rows, name, others[reference.to], reference.column, found, f"{where}.contract")
        known = f"{name} not in {reference.to}.{reference.column}"
        conditions[known] = F.col(quoted(name)).isNotNull() & F.col(found).isNull()
    listed = F.array(*(F.when(condition, F.lit(reason)) for reason, condition in conditions.items()))
    marked = rows.withColumn(REASONS, F.array_compact(listed)).drop(
        *(name for name in rows.columns if name.startswith(_FOUND))
    )
    return _with_duplicates(marked, table.contract, f"{where}.contract")


def good_rows(judged_rows: DataFrame) -> DataFrame:
    """Return the rows that keep the contract, with the columns that :func:`checked` was given."""
    return judged_rows.filter(F.size(REASONS) == 0).drop(REASONS, DAY, KNOWN)


def find(judged_rows: DataFrame, table: Source | Attributes, where: str) -> Findings:
    """Count rows and reasons in one pass.

    Raises InputError when one column holds times with and without a time zone.
    """
    good = F.size(REASONS) == 0
    day = F.when(good, F.col(DAY)) if isinstance(table, Source) else F.lit(None).cast("date")
    text = [name for name in _time_columns(table) if isinstance(judged_rows.schema[name].dataType, T.StringType)]
    zoned = [F.count(F.when(F.col(quoted(name)).rlike(WITH_OFFSET), 1)) for name in text]
    zoneless = [F.count(F.when(F.col(quoted(name)).rlike(r"\d:\d{2}") & ~F.col(quoted(name)).rlike(WITH_OFFSET), 1))
                for name in text]  # fmt: skip
    months = {name: months_in(judged_rows, name) for name in _time_columns(table)} if table.months is None else {}
    counted = [F.count(F.when(month, 1)) for month in months.values()]
    # By day: its gaps tell a calendar from a stray date, and days are few.
    by_reasons = (
        judged_rows.groupBy(REASONS, day.alias("day"))
        .agg(F.count("*").alias("rows"), *zoned, *zoneless, *counted)
        .collect()
    )
    for position, name in enumerate(months, 3 + 2 * len(text)):
        if found := sum(row[position] for row in by_reasons):
            raise InputError(
                f"{where}: {found} times in column {name!r} are months such as 202401, expected days; say with"
                " months: last (a month's rows count from its last day on) or months: first how to read them"
            )
    for position, name in enumerate(text):
        first = 3 + position
        counts = [sum(row[at] for row in by_reasons) for at in (first, first + len(text))]
        if all(counts):
            raise InputError(
                f"{where}: column {name!r} mixes time zones: {counts[0]} times carry one and {counts[1]} do not;"
                " write all of them with or all without one"
            )
    reasons: dict[str, int] = {}
    for row in by_reasons:
        for reason in row[REASONS]:
            reasons[reason] = reasons.get(reason, 0) + row["rows"]
    seen = frozenset(row["day"] for row in by_reasons if row["day"] is not None)
    return Findings(
        rows=sum(row["rows"] for row in by_reasons),
        reasons=dict(sorted(reasons.items())),
        failed=sum(row["rows"] for row in by_reasons if row[REASONS]),
        first=min(seen, default=None),
        last=max(seen, default=None),
        future=reasons.get("event time in the future", 0),
        days=seen,
    )


def refuse(findings: Findings, max_share: float, where: str) -> None:
    """Raise InputError when too many rows fail."""
    if findings.failed > max_share * findings.rows:
        reasons = ", ".join(f"{reason} ({count})" for reason, count in _most(findings.reasons))
        raise InputError(
            f"{where}: {findings.failed} of {findings.rows} rows break the contract: {reasons}; at most"
            f" {max_share:.1%} may (features.quarantine.max_share). Nothing was written"
        )


def refuse_stale(findings: Findings, table: Source | Attributes, today: dt.date | None, where: str) -> None:
    """Raise InputError when the latest event of a source is older than promised, or when it has none."""
    age = table.contract.max_age_days
    if age is None or today is None or not isinstance(table, Source):
        return
    if findings.last is None:
        raise InputError(
            f"{where}: no event at all; the contract promises one at most {age} days old (max_age_days). Nothing was"
            " written"
        )
    if (today - findings.last).days > age:
        raise InputError(
            f"{where}: the latest event is of {findings.last}, {(today - findings.last).days} days before {today}; the"
            f" contract promises at most {age} (max_age_days). Nothing was written"
        )


def quarantined(judged_rows: DataFrame, columns: list[str], name: str, run: str) -> DataFrame:
    """Return the rows that break the contract: source, the row as JSON, the reasons and the run."""
    return judged_rows.filter(F.size(REASONS) > 0).select(
        F.lit(name).alias("source"),
        F.to_json(F.struct(*(F.col(quoted(c)) for c in columns)), {"ignoreNullFields": "false"}).alias("row"),
        F.concat_ws("; ", REASONS).alias("reason"),
        F.lit(run).alias("run"),
    )


def is_future(today: dt.date) -> Column:
    """Whether the event's day lies more than a day (for time zones) after today."""
    return F.coalesce(F.col(DAY) > F.lit(today + dt.timedelta(days=1)), F.lit(False))


def _ends_too_early(frame: DataFrame, table: Attributes, where: str) -> dict[str, Column]:
    if table.time is None or table.until is None:
        return {}
    begin, end = (day_of(frame, name, table.time_zone, table.months, where) for name in (table.time, table.until))
    return {f"{table.until} before {table.time}": F.coalesce(end < begin, F.lit(False))}


def _row_promises(frame: DataFrame, contract: Contract, where: str) -> dict[str, Column]:
    """Return the condition that breaks each promise about a single row, by its reason; none of them is null."""
    broken: dict[str, Column] = {}
    for name in contract.required:
        require(frame, name, f"{where}.required")
        broken[f"{name} is null"] = F.col(quoted(name)).isNull()
    for name, (low, high) in contract.ranges.items():
        require(frame, name, f"{where}.ranges")
        value = F.col(quoted(name))
        if low is not None:
            broken[f"{name} below {low:g}"] = value < low
        if high is not None:
            # In Spark NaN is larger than any number, so it fails here.
            broken[f"{name} above {high:g}"] = value > high
    for name, levels in contract.allowed.items():
        require(frame, name, f"{where}.allowed")
        broken[f"{name} not among the allowed values"] = ~F.col(quoted(name)).cast("string").isin(levels)
    for name, rule in contract.rules.items():
        broken[f"breaks rule {name}"] = ~column(frame, rule, f"{where}.rules.{name}")
    return {reason: F.coalesce(condition, F.lit(False)) for reason, condition in broken.items()}


def _with_reference(
    rows: DataFrame, name: str, other: DataFrame, column_name: str, found: str, where: str
) -> DataFrame:
    require(other, column_name, f"{where}.references.{name}.column")
    keys = other.select(id_text(other, column_name).alias(found)).filter(F.col(found).isNotNull())
    return rows.join(keys.distinct(), id_text(rows, name) == F.col(found), "left")


def _with_duplicates(rows: DataFrame, contract: Contract, where: str) -> DataFrame:
    """Give every row but the one known first the reason that its key stands there already; a null key is no key."""
    if not contract.unique:
        return rows
    for name in contract.unique:
        require(rows, name, f"{where}.unique")
    first: list[Column | str] = [KNOWN] if KNOWN in rows.columns else []
    # A row that fails anyway does not take the place of one that does not; ties by content, never by position.
    content = F.xxhash64(*(F.col(quoted(name)) for name in rows.columns if name != REASONS))
    order: list[Column | str] = [F.size(REASONS) > 0, *first, content]
    number = F.row_number().over(Window.partitionBy(*map(quoted, contract.unique)).orderBy(order))
    reason = F.array(F.lit(f"{', '.join(contract.unique)} stands there already"))
    again = rows.withColumn("__number", number)
    whole = ~F.concat(*(F.col(quoted(name)).cast("string") for name in contract.unique)).isNull()
    extended = F.when((F.col("__number") > 1) & whole, F.concat(REASONS, reason)).otherwise(F.col(REASONS))
    return again.withColumn(REASONS, extended).drop("__number")


def _time_columns(table: Source | Attributes) -> list[str]:
    first = table.event_time if isinstance(table, Source) else table.time
    return [name for name in (first, table.arrival_time) if name is not None]


def _most(reasons: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0]))[:5]
