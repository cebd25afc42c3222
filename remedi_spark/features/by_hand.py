"""Every declared feature once more, for one owner and one day, from that owner's raw events in plain Python.

Nothing here is shared with how the table is built: no partials, no windows of days, no totals in whole numbers. It is
what :mod:`remedi_spark.features.verify` holds the table against, and the tests too.
"""

from __future__ import annotations

import datetime as dt
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from remedi_spark.columns import LABEL
from remedi_spark.config.measures import EVER, RANKED, window_name

if TYPE_CHECKING:
    from remedi_spark.config.features import FeaturesConfig, LabelConfig
    from remedi_spark.config.measures import Measure
    from remedi_spark.features.levels import ResolvedGroup


def label_group(column: str) -> str:
    """Return the group of a label's events."""
    return f"__{column}"


@dataclass(frozen=True)
class Event:
    """One raw row: its days, its moment in microseconds, the groups that it belongs to, and values by expression."""

    day: dt.date
    known: dt.date
    at: int
    hour: int
    """Hour of the day by the clock, 0 to 23."""
    groups: frozenset[str]
    values: Mapping[str, Any]


def by_hand(
    config: FeaturesConfig, groups: Sequence[ResolvedGroup], events: Mapping[str, Sequence[Event]], t: dt.date
) -> dict[str, float | None]:
    """Return the features of all groups, and their ratios, of an owner at the end of day t, by name."""
    known = {source: [event for event in own if event.known <= t] for source, own in events.items()}
    found: dict[str, float | None] = {}
    for group in groups:
        declared = config.groups[group.declared]
        own = [event for event in known[group.source] if group.name in event.groups]
        for name, measure in declared.measures.items():
            whole = [event for event in known[group.source] if measure.within in event.groups]
            windows = measure.windows or declared.windows or config.windows
            for chosen in _windows(measure, windows):
                end = "_over_".join(map(window_name, chosen))
                for rank in range(1, (measure.k or 1) + 1):
                    place = str(rank) if measure.aggregate in RANKED else ""
                    value = _value(measure, own, whole, t, chosen, rank)
                    found["_".join(filter(None, [group.name, name, place, end]))] = value
    parts = {name: [found[part] for part in declared.over] for name, declared in config.ratios.items()}
    return found | {name: _ratio(*part) for name, part in parts.items()}


def label_by_hand(label: LabelConfig, events: Sequence[Event], t: dt.date, column: str = LABEL) -> float:
    """Return the label over (t + gap, t + gap + horizon], from all events however late they arrived."""
    begin, end = (t + dt.timedelta(days=label.gap_days + days) for days in (0, label.horizon_days))
    group = label_group(column)
    total = _total([event for event in events if group in event.groups and begin < event.day <= end], label.of)
    return total if label.kind == "sum" else float(total >= label.threshold)


def _windows(measure: Measure, windows: Sequence[int]) -> list[tuple[int, ...]]:
    if measure.aggregate in EVER:
        return [()]
    return [tuple(windows)] if measure.aggregate == "trend" else [(window,) for window in windows]


def _value(  # noqa: PLR0911 one line an aggregate
    measure: Measure, own: Sequence[Event], whole: Sequence[Event], t: dt.date, windows: tuple[int, ...], rank: int
) -> float | None:
    aggregate, of = measure.aggregate, measure.of
    if aggregate == "trend":
        short, long = ((_total(_inside(own, t, one), of) or 0) / (one if one > 0 else -one / 24) for one in windows)
        return _ratio(short, long)
    inside = _inside(own, t, windows[0]) if windows else own
    if aggregate == "share":
        return _ratio(_total(inside, of), _total(_inside(whole, t, windows[0]), of))
    if of is not None:
        inside = [event for event in inside if event.values[of] is not None]
    days = sorted({event.day for event in inside})
    if aggregate in EVER:
        return (t - (days[-1] if aggregate == "days_since_last" else days[0])).days if days else None
    if aggregate in OF_DAYS:
        return OF_DAYS[aggregate](days)
    if aggregate == "count":
        return len(inside)
    values = [event.values[of or ""] for event in inside]
    if aggregate in ("distinct", "approx_distinct"):
        return len(set(values))
    if aggregate in ("first", "last", "first_k", "last_k"):
        ordered = sorted(((event.at, event.values[of or ""]) for event in inside), reverse=aggregate.startswith("last"))
        return _place([value for _, value in ordered], rank)
    if aggregate in ("top_k", "bottom_k"):
        return _place(sorted(values, reverse=aggregate == "top_k"), rank)
    if aggregate in ("percentile", "median"):
        return _quantile(sorted(values), 0.5 if measure.at is None else measure.at)
    if aggregate == "approx_percentile":
        return _place(sorted(values), max(1, math.ceil((measure.at or 0) * len(values))))
    return OF_VALUES[aggregate](values)


def _inside(events: Iterable[Event], t: dt.date, window: int) -> list[Event]:
    if window < 0:  # hours to the end of day t
        return [event for event in events if 24 * (t - event.day).days + 23 - event.hour < -window]
    return [event for event in events if (t - event.day).days < window]


def _total(events: Sequence[Event], of: str | None) -> float:
    if of is None:
        return len(events)
    return math.fsum(event.values[of] for event in events if event.values[of] is not None)


def _ratio(over: float | None, under: float | None) -> float | None:
    return None if over is None or not under else over / under


def _place(values: Sequence[float], rank: int) -> float | None:
    return values[rank - 1] if rank <= len(values) else None


def _quantile(values: Sequence[float], share: float) -> float | None:
    if not values:
        return None
    place = share * (len(values) - 1)
    low = math.floor(place)
    return values[low] + (place - low) * (values[min(low + 1, len(values) - 1)] - values[low])


def _variance(values: Sequence[float]) -> float | None:
    if len(values) < 2:
        return None
    mean = math.fsum(values) / len(values)
    return math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)


def _std(values: Sequence[float]) -> float | None:
    variance = _variance(values)
    return None if variance is None else math.sqrt(variance)


def _skew(values: Sequence[float]) -> float | None:
    if len(values) < 3 or min(values) == max(values):
        return None
    mean = math.fsum(values) / len(values)
    second, third = (math.fsum((value - mean) ** power for value in values) / len(values) for power in (2, 3))
    return float(third / second**1.5)


def _gaps(days: Sequence[dt.date]) -> list[int]:
    return [(later - earlier).days for earlier, later in pairwise(days)]


def _streak(days: Sequence[dt.date]) -> int:
    """Days in a row have the same difference from their place in the list."""
    runs = Counter(day.toordinal() - place for place, day in enumerate(days))
    return max(runs.values(), default=0)


def _regularity(days: Sequence[dt.date]) -> float | None:
    gaps = _gaps(days)
    if len(gaps) < 2:
        return None
    shares = [gap / sum(gaps) for gap in gaps]
    return -math.fsum(share * math.log(share) for share in shares) / math.log(len(gaps))


OF_DAYS: dict[str, Callable[[Sequence[dt.date]], float | None]] = {
    "active_days": len,
    "gap_mean": lambda days: sum(_gaps(days)) / (len(days) - 1) if len(days) > 1 else None,
    "gap_max": lambda days: max(_gaps(days), default=None),
    "streak_max": _streak,
    "regularity": _regularity,
}
OF_VALUES: dict[str, Callable[[Sequence[float]], float | None]] = {
    "sum": math.fsum,
    "mean": lambda values: math.fsum(values) / len(values) if values else None,
    "max": lambda values: max(values, default=None),
    "min": lambda values: min(values, default=None),
    "std": _std,
    "variance": _variance,
    "skew": _skew,
}
