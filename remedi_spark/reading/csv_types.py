"""The type of a CSV's column, from all of its values, and its values in that type: in doubt it is text.

Each value is one of a few forms (:data:`FORMS`); a column is a number only if all its values are. Leading zeros,
``1D`` (a number to Java), whole numbers beyond 2^53 and times of day are text. Marks for a missing value among numbers
or dates are null; in a text they stay what they are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import Column

MISSING_MARKS = (
    "na", "n/a", "n.a.", "#n/a", "#na", "null", "nan", "-nan", "none", "nil", "-", "--", "?", ".", "<na>", "nat",
)  # fmt: skip
"""In lower case: what stands for no value among numbers and dates."""
PANDAS_MARKS = (
    "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA", "NULL",
    "NaN", "None", "n/a", "nan", "null",
)  # fmt: skip
"""What ``pandas.read_csv`` takes for null in any column."""

WHOLE = r"[+-]?(0|[1-9][0-9]{0,14})"
NUMBER = r"[+-]?((0|[1-9][0-9]*)([.][0-9]*)?|[.][0-9]+)([eE][+-]?[0-9]+)?"
ENDLESS = r"(?i)[+-]?inf(inity)?"
LONG = r"[+-]?[1-9][0-9]{15,}"
"""Digits that a float may lose."""
GROUPED = r"[+-]?[1-9][0-9]{0,2}([.][0-9]{3})+"
"""``1.234``: a thousand and more where decimals have a comma."""
COMMA = r"[+-]?((0|[1-9][0-9]*)|[1-9][0-9]{0,2}([.][0-9]{3})+),[0-9]+"
TRUTH = r"(?i)(true|false)"
DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
MOMENT = DAY + r"[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,9})?)?( ?(Z|[+-][0-9]{2}:?[0-9]{2}))?"
ZEROS = r"[+-]?0[0-9]+"

NONE, MARK, INTEGER, REAL, THOUSANDS, DECIMAL_COMMA, BOOLEAN, DATE, TIMESTAMP, DIGITS, OTHER = (
    0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512,
)  # fmt: skip

_MARKS = ", ".join(f"'{mark}'" for mark in MISSING_MARKS)


@dataclass(frozen=True)
class ColumnType:
    """A Spark type, how decimals are written, and whether pandas would lose digits of what is text."""

    name: str
    comma: bool = False
    zeros: bool = False


def form(value: str) -> Column:
    """Return which form a value (an SQL expression of text) has, one bit of an int; 0 for null."""
    from pyspark.sql import functions as F

    text = f"trim({value})"
    return F.expr(
        f"CASE WHEN {value} IS NULL THEN {NONE}"
        f" WHEN {_like(text, WHOLE)} THEN {INTEGER}"
        f" WHEN {_like(text, GROUPED)} THEN {THOUSANDS}"
        f" WHEN {_like(text, LONG)} OR {_like(text, ZEROS)} THEN {DIGITS}"
        f" WHEN {_like(text, NUMBER)} OR {_like(text, ENDLESS)} THEN {REAL}"
        f" WHEN {_like(text, COMMA)} THEN {DECIMAL_COMMA}"
        f" WHEN lower({text}) IN ({_MARKS}) THEN {MARK}"
        f" WHEN {_like(text, TRUTH)} THEN {BOOLEAN}"
        f" WHEN {_like(text, DAY)} AND try_cast({text} AS date) IS NOT NULL THEN {DATE}"
        f" WHEN {_like(text, MOMENT)} AND try_cast({text} AS timestamp) IS NOT NULL THEN {TIMESTAMP}"
        f" ELSE {OTHER} END"
    )


def type_of(forms: int, *, comma: bool) -> ColumnType:
    """Return the type of a column whose values have these forms.

    Args:
        forms: the bits of :func:`form` of all values.
        comma: whether the separator leaves the comma free for decimals.

    >>> type_of(INTEGER | REAL | MARK, comma=False).name, type_of(INTEGER | OTHER, comma=False).name
    ('double', 'string')
    """
    found = forms & ~MARK
    if found and not found & ~INTEGER:
        return ColumnType("bigint" if forms == INTEGER else "double")
    if found and comma and found & DECIMAL_COMMA and not found & ~(INTEGER | THOUSANDS | DECIMAL_COMMA):
        return ColumnType("double", comma=True)
    if found and not found & ~(INTEGER | REAL | THOUSANDS):
        return ColumnType("double")
    simple = {BOOLEAN: "boolean", DATE: "date", TIMESTAMP: "timestamp", DATE | TIMESTAMP: "timestamp"}
    return ColumnType(simple.get(found, "string"), zeros=bool(found & DIGITS))


def parsed(value: str, name: str, *, comma: bool = False) -> str:
    """Return SQL for text as double, bigint, boolean, date, timestamp or string; null where it is not one of these."""
    text = f"trim({value})"
    if name == "string":
        return value
    if name == "bigint":
        return f"CASE WHEN {_like(text, WHOLE)} THEN try_cast({text} AS bigint) END"
    if name == "double":
        plain = f"WHEN {_like(text, NUMBER)} THEN try_cast({text} AS double) END"
        if not comma:
            return f"CASE {plain}"
        swapped = f"replace(replace({text}, '.', ''), ',', '.')"
        return f"CASE WHEN {_like(text, COMMA)} OR {_like(text, GROUPED)} THEN try_cast({swapped} AS double) {plain}"
    if name == "boolean":
        true, false = "('true', '1', '1.0')", "('false', '0', '0.0')"
        return f"CASE WHEN lower({text}) IN {true} THEN true WHEN lower({text}) IN {false} THEN false END"
    moment = f"CASE WHEN {_like(text, f'({DAY})|({MOMENT})')} THEN try_cast({text} AS timestamp) END"
    return f"CAST({moment} AS date)" if name == "date" else moment


def not_parsed(value: str, name: str, *, comma: bool = False) -> str:
    """Return SQL for whether a text is neither a value of the type nor a mark for a missing one."""
    text = f"trim({value})"
    fine = f"lower({text}) IN ('', {_MARKS}) OR {_like(text, ENDLESS)}"
    return f"({value} IS NOT NULL AND NOT ({fine}) AND ({parsed(value, name, comma=comma)}) IS NULL)"


def _like(value: str, pattern: str) -> str:
    flags, rest = ("(?i)", pattern[4:]) if pattern.startswith("(?i)") else ("", pattern)
    return f"{value} RLIKE '{flags}^({rest})$'"


def full(pattern: str) -> re.Pattern[str]:
    """Return a pattern for whole texts, for Python."""
    return re.compile(f"(?:{pattern})" if not pattern.startswith("(?i)") else f"(?i:{pattern[4:]})")
