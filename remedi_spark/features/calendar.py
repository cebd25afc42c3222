"""Features of the snapshot's date."""

from __future__ import annotations

from pyspark.sql import functions as F

from remedi_spark.columns import SNAPSHOT
from remedi_spark.features.dictionary import Entry
from remedi_spark.features.expressions import digest
from remedi_spark.features.plan import Feature

_PARTS = {
    "month": (F.month, "1 to 12"),
    "quarter": (F.quarter, "1 to 4"),
    "week_of_year": (F.weekofyear, "ISO week, 1 to 53"),
    "day_of_week": (F.dayofweek, "1 (Sunday) to 7"),
    "day_of_month": (F.dayofmonth, "1 to 31"),
    "day_of_year": (F.dayofyear, "1 to 366"),
}


def calendar_feature(part: str) -> Feature:
    """Return the feature ``calendar_<part>``."""
    value, unit = _PARTS[part]
    words = part.replace("_", " ")
    return Feature(
        Entry(f"calendar_{part}", f"{words} of the snapshot", "calendar", None, unit, "never null"), value(SNAPSHOT),
        definition=digest(["calendar", part]),
    )  # fmt: skip
