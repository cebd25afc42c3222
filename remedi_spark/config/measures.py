"""Aggregations of events and their windows, as they are declared under ``features.groups``."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema, model_validator

from remedi_spark.config.section import Section

Days = Annotated[int, Field(ge=1, le=36_500)]
"""A number of whole days, at least 1."""
EVER_DAYS = 700_000
"""Days of the window ``ever``: no calendar goes back so far."""
MOST_HOURS = 8_784
"""A year of hours; longer windows are given in days."""


def _window(given: object) -> object:
    """Return a window as it is kept: a number of days, or of hours below zero."""
    if given == "ever":
        return EVER_DAYS
    hours = re.fullmatch(r"([1-9][0-9]{0,4})h", given) if isinstance(given, str) else None
    if hours is not None and int(hours[1]) <= MOST_HOURS:
        return -int(hours[1])
    if isinstance(given, str) or (isinstance(given, int) and given < 1):
        raise ValueError(f"expected days (28), hours (6h, at most {MOST_HOURS}h) or ever")
    return given


Window = Annotated[
    int,
    Field(ge=-MOST_HOURS, le=EVER_DAYS),
    BeforeValidator(_window),
    PlainSerializer(lambda window: window if 0 < window < EVER_DAYS else window_name(window)),
    WithJsonSchema({"anyOf": [
        {"type": "integer", "minimum": 1, "maximum": 36_500}, {"const": "ever"},
        {"type": "string", "pattern": "^[1-9][0-9]{0,3}h$"},
    ]}),
]  # fmt: skip
"""Days, hours to the end of the snapshot's day (``6h``; kept below zero), or ``ever``: all known history."""
Aggregate = Literal[
    "count", "sum", "mean", "max", "min", "std", "variance", "skew", "median", "percentile", "approx_percentile",
    "distinct", "approx_distinct", "first", "last", "first_k", "last_k", "top_k", "bottom_k",
    "active_days", "gap_mean", "gap_max", "streak_max", "regularity",
    "days_since_last", "days_since_first", "trend", "share",
]  # fmt: skip

EVER = ("days_since_last", "days_since_first")
RANKED = ("first_k", "last_k", "top_k", "bottom_k")
"""One feature for each of k values."""
QUANTILES = ("percentile", "approx_percentile")
OF_NUMBERS = (
    "sum", "mean", "max", "min", "std", "variance", "skew", "median", *QUANTILES, "first", "last", *RANKED,
)  # fmt: skip
OF_TEXT = ("first", "last", "first_k", "last_k")
"""Of numbers or of text: the value itself, which then is a category."""
NEEDS_COLUMN = (*OF_NUMBERS, "distinct", "approx_distinct")


IN_HOURS = (
    "count", "sum", "mean", "max", "min", "std", "variance", "active_days", "gap_mean", "trend", "share", *EVER,
)  # fmt: skip
"""Aggregates that have windows in hours: they follow from whole days and the end of one."""


def window_name(window: int) -> str:
    """Return a window as the end of a feature's name."""
    return "ever" if window == EVER_DAYS else f"{window}d" if window > 0 else f"{-window}h"


def window_words(window: int) -> str:
    """Return a window in words."""
    count, unit = (window, "day") if window > 0 else (-window, "hour")
    return f"{count} {unit}s" if count > 1 else f"1 {unit}"


def window_days(window: int) -> float:
    """Return the length of a window in days."""
    return window if window > 0 else -window / 24


class Measure(Section):
    """One aggregation of a group's events."""

    aggregate: Aggregate
    """What is computed."""
    of: str | None = None
    """Column, or SQL expression over the source's columns, that is aggregated; null: the events are counted."""
    windows: list[Window] | None = None
    """Windows in days, or ``ever``; null: the group's. For ``trend``: the short one and the long one."""
    within: str | None = None
    """``share`` only: the group whose total is 100 %."""
    at: float | None = Field(default=None, ge=0, le=1)
    """``percentile`` and ``approx_percentile`` only: which one, from 0 to 1 (0.9: nine in ten values are smaller)."""
    k: int | None = Field(default=None, ge=1, le=20)
    """``first_k``, ``last_k``, ``top_k`` and ``bottom_k`` only: how many values; each is a feature."""
    called: str | None = None
    """What ``of`` is called in reasons, such as ``coupon discount``; null: ``of`` as it stands."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.aggregate in NEEDS_COLUMN and self.of is None:
            raise ValueError(f"aggregate {self.aggregate} needs 'of': the column to aggregate")
        if (self.aggregate == "share") != (self.within is not None):
            raise ValueError("'within' (the group that is 100 %) goes with aggregate share and with nothing else")
        if (self.aggregate in QUANTILES) != (self.at is not None):
            raise ValueError("'at' (0 to 1) goes with percentile and approx_percentile and with nothing else")
        if (self.aggregate in RANKED) != (self.k is not None):
            raise ValueError("'k' (1 to 20) goes with first_k, last_k, top_k and bottom_k and with nothing else")
        if self.aggregate in EVER and self.windows is not None:
            raise ValueError(f"aggregate {self.aggregate} looks at all known history; leave 'windows' out")
        if self.aggregate == "trend":
            two = [window_days(window) for window in self.windows or ()]
            if not (len(two) == 2 and two[0] < two[1]):
                raise ValueError("aggregate trend needs windows: [short, long] with short < long")
            if self.windows and EVER_DAYS in self.windows:
                raise ValueError("aggregate trend compares totals a day; give windows in days")
        return self
