"""Where the data begin and end: the days of events, without the few that lie years away from all others.

A missing time often turns into 1970-01-01, a mistyped one into another century. Such an event is kept, but it does not
say when the calendar of snapshots begins or ends.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from remedi_spark.errors import InputError
from remedi_spark.features.sources import DAY
from remedi_spark.progress import warn

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

GAP = 366
"""Days without any event that set a stretch of days apart."""
FEWEST = 10
"""A calendar of fewer days is not looked at: any of them may be the odd one."""
Bounds = tuple[dt.date, dt.date]
"""Days of the first and of the last event."""


@dataclass(frozen=True)
class Calendar:
    """The days of the first and the last event, and what was left out for it."""

    bounds: Bounds
    apart: tuple[Bounds, ...] = ()
    """Stretches of days, by their ends, that lie more than a year away from all others."""

    def told(self) -> Bounds:
        """Warn of what was left out; return the bounds."""
        for warning in self.warnings:
            warn("features", warning)
        return self.bounds

    @property
    def warnings(self) -> list[str]:
        """What is said of it."""
        first, last = self.bounds
        return [
            f"a few events of {begin if begin == end else f'{begin} to {end}'} lie"
            f" {(first - end if end < first else begin - last).days // 365} years away from all others: the data are"
            f" taken to go from {first} to {last}; if that is wrong, set features.snapshots.start"
            " and features.snapshots.data_end, else correct the times of the source"
            for begin, end in self.apart
        ]


def calendar_of(days: Iterable[dt.date], today: dt.date | None = None) -> Calendar | None:
    """Return where the data begin and end; None without any day.

    A stretch of at most one day, or 1 % of the days of the longest stretch, that lies more than :data:`GAP` days from
    its neighbours is left out. The data end today at the latest: an event of tomorrow (in another time zone) does not
    make today's day over.
    """
    ordered = sorted(set(days))
    if not ordered:
        return None
    stretches = [[ordered[0]]]
    for before, day in pairwise(ordered):
        if (day - before).days > GAP:
            stretches.append([])
        stretches[-1].append(day)
    most = max(len(stretch) for stretch in stretches)
    few = max(1, most // 100) if most >= FEWEST else 0
    main = [stretch for stretch in stretches if len(stretch) > few]
    first, last = main[0][0], main[-1][-1]
    outside = [stretch for stretch in stretches if stretch[-1] < first or stretch[0] > last]
    if today is not None:
        last = max(first, min(last, today))
    return Calendar((first, last), tuple((stretch[0], stretch[-1]) for stretch in outside))


def event_calendar(events: Mapping[str, DataFrame], today: dt.date | None = None) -> Calendar:
    """Return the calendar of all sources; ``events`` may be their daily partials.

    Raises InputError without any event.
    """
    found = {row[0] for frame in events.values() for row in frame.select(DAY).distinct().collect()}
    calendar = calendar_of((day for day in found if day is not None), today)
    if calendar is None:
        raise InputError(
            f"features.sources: no event with an owner and a time in {', '.join(events)};"
            " check key, event_time and filter"
        )
    return calendar
