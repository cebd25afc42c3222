"""A stray date does not say when the data begin or end."""

from __future__ import annotations

import datetime as dt

from remedi_spark.features.event_days import calendar_of

DAYS = [dt.date(2024, 1, 1) + dt.timedelta(days=day) for day in range(200)]
MONTHS = [dt.date(2024, month, 1) for month in range(1, 13)]


def test_an_event_of_1970_is_told_of_and_does_not_begin_the_calendar() -> None:
    calendar = calendar_of([dt.date(1970, 1, 1), *DAYS])
    assert calendar is not None
    assert calendar.bounds == (DAYS[0], DAYS[-1])
    assert "1970-01-01" in calendar.warnings[0] and "features.snapshots.start" in calendar.warnings[0]


def test_several_stray_days_at_both_ends_and_among_months() -> None:
    stray = [dt.date(1900, 1, 1), dt.date(1970, 1, 1), dt.date(2031, 5, 5)]
    calendar = calendar_of([*stray, *MONTHS])
    assert calendar is not None
    assert calendar.bounds == (MONTHS[0], MONTHS[-1])
    assert calendar.apart == tuple((day, day) for day in stray)


def test_a_log_that_rested_for_years_is_one_calendar() -> None:
    earlier = [day - dt.timedelta(days=1500) for day in DAYS]
    calendar = calendar_of([*earlier, *DAYS])
    assert calendar is not None
    assert calendar.bounds == (earlier[0], DAYS[-1])
    assert not calendar.warnings
    few = calendar_of([dt.date(2010, 1, 1), dt.date(2020, 1, 1), dt.date(2024, 1, 1)])
    assert few is not None
    assert few.bounds == (dt.date(2010, 1, 1), dt.date(2024, 1, 1))


def test_the_data_end_today_at_the_latest() -> None:
    calendar = calendar_of(DAYS, today=DAYS[-2])
    assert calendar is not None
    assert calendar.bounds == (DAYS[0], DAYS[-2])
    assert calendar_of([]) is None
