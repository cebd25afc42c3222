"""A small world of owners, and its features computed one owner and one day at a time with pandas."""

from __future__ import annotations

import datetime as dt
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from remedi_spark.config.features import FeaturesConfig

START, END = dt.date(2024, 2, 1), dt.date(2024, 4, 25)
DATA_END = dt.date(2024, 4, 30)

TREE: dict[str, Any] = {
    "entity": "owner",
    "sources": {"events": {"path": "unused", "event_time": "at", "arrival_time": "arrived"}},
    "windows": [7, 30],
    "groups": {
        "total": {
            "source": "events",
            "measures": {
                "count": {"aggregate": "count"},
                "spend": {"aggregate": "sum", "of": "amount"},
                "mean": {"aggregate": "mean", "of": "amount"},
                "max": {"aggregate": "max", "of": "amount"},
                "min": {"aggregate": "min", "of": "amount"},
                "std": {"aggregate": "std", "of": "amount"},
                "items": {"aggregate": "distinct", "of": "item"},
                "days": {"aggregate": "active_days"},
                "gap": {"aggregate": "gap_mean"},
                "last": {"aggregate": "days_since_last"},
                "first": {"aggregate": "days_since_first"},
                "trend": {"aggregate": "trend", "of": "amount", "windows": [7, 30]},
            },
        },
        "kind": {
            "source": "events",
            "each": "kind",
            "levels": ["a", "b c"],
            "measures": {
                "count": {"aggregate": "count"},
                "share": {"aggregate": "share", "of": "amount", "within": "total"},
                "items": {"aggregate": "distinct", "of": "item"},
                "last": {"aggregate": "days_since_last"},
                "days": {"aggregate": "active_days"},
            },
        },
    },
    "label": {"source": "events", "filter": "kind = 'a'", "gap_days": 2, "horizon_days": 10},
    "snapshots": {"start": START, "end": END, "every_days": 12, "data_end": DATA_END},
}


def make_events(seed: int = 0, owners: int = 12, rows: int = 400) -> pd.DataFrame:
    """Draw events over 120 days; one in four arrives up to 20 days late, one amount in ten is missing."""
    rng = np.random.default_rng(seed)
    day = rng.integers(0, 121, rows)
    late = np.where(rng.random(rows) < 0.25, rng.integers(0, 21, rows), 0)
    begin = pd.Timestamp("2024-01-01")
    return pd.DataFrame(
        {
            "owner": rng.integers(0, owners, rows),
            "at": begin + pd.to_timedelta(day, unit="D") + pd.to_timedelta(rng.integers(0, 86_400, rows), unit="s"),
            "arrived": begin + pd.to_timedelta(day + late, unit="D") + pd.to_timedelta(86_399, unit="s"),
            "kind": rng.choice(["a", "b c", "d"], rows, p=[0.2, 0.3, 0.5]),
            "amount": np.where(rng.random(rows) < 0.1, np.nan, rng.integers(1, 10_000, rows) / 100),
            "item": rng.integers(0, 15, rows),
        }
    )


def known_day(events: pd.DataFrame) -> pd.Series[Any]:
    """Return the day from which each event is known."""
    return events[["at", "arrived"]].max(axis=1).dt.date


def naive_features(events: pd.DataFrame, config: FeaturesConfig) -> pd.DataFrame:
    """Return the features and the label of :data:`TREE`, row by row."""
    snapshots = config.snapshots
    assert snapshots.start is not None
    assert snapshots.end is not None
    days = [day.date() for day in pd.date_range(snapshots.start, snapshots.end, freq=f"{snapshots.every_days}D")]
    events = events.assign(day=events["at"].dt.date, known=known_day(events))
    rows = [
        _row(owner, t, own[own["known"] <= t]) | {"label": _label(own, t, config)}
        for owner, own in events.groupby("owner")
        for t in days
        if (own["known"] <= t).any()
    ]
    frame = pd.DataFrame(rows)
    censored = sorted({day for day in days if _label_end(day, config) > DATA_END})
    return frame[~frame["snapshot_date"].isin(censored[:-1])]


def _label_end(t: dt.date, config: FeaturesConfig) -> dt.date:
    return t + dt.timedelta(days=config.label.gap_days + config.label.horizon_days)


def _label(own: pd.DataFrame, t: dt.date, config: FeaturesConfig) -> float:
    if _label_end(t, config) > DATA_END:
        return float("nan")
    first = t + dt.timedelta(days=config.label.gap_days)
    inside = (own["day"] > first) & (own["day"] <= _label_end(t, config)) & (own["kind"] == "a")
    return float(inside.any())


def _row(owner: Any, t: dt.date, known: pd.DataFrame) -> dict[str, Any]:
    row: dict[str, Any] = {"owner_id": str(owner), "snapshot_date": t}
    row |= _history(known, t, "total") | {"total_first": (t - known["day"].min()).days}
    spend = {}
    for window in (7, 30):
        inside = known[known["day"] > t - dt.timedelta(days=window)]
        row |= _window(inside, window)
        spend[window] = inside["amount"].sum()
        for level, name in (("a", "kind_a"), ("b c", "kind_b_c")):
            part = inside[inside["kind"] == level]
            row[f"{name}_count_{window}d"] = len(part)
            row[f"{name}_share_{window}d"] = part["amount"].sum() / spend[window] if spend[window] else np.nan
            row[f"{name}_items_{window}d"] = part["item"].nunique()
            row[f"{name}_days_{window}d"] = part["day"].nunique()
    row["total_trend_7d_over_30d"] = (spend[7] / 7) / (spend[30] / 30) if spend[30] else np.nan
    for level, name in (("a", "kind_a"), ("b c", "kind_b_c")):
        row |= _history(known[known["kind"] == level], t, name)
    return row


def _history(events: pd.DataFrame, t: dt.date, name: str) -> dict[str, Any]:
    return {f"{name}_last": (t - events["day"].max()).days if len(events) else np.nan}


def _window(inside: pd.DataFrame, window: int) -> dict[str, Any]:
    amount, days = inside["amount"], sorted(set(inside["day"]))
    values = {
        "count": len(inside),
        "spend": amount.sum(),
        "mean": amount.mean(),
        "max": amount.max(),
        "min": amount.min(),
        "std": amount.std(ddof=1),
        "items": inside["item"].nunique(),
        "days": len(days),
        "gap": _mean_gap(days),
    }
    return {f"total_{name}_{window}d": value for name, value in values.items()}


def _mean_gap(days: list[dt.date]) -> float:
    gaps = [(later - earlier).days for earlier, later in pairwise(days)]
    return float(np.mean(gaps)) if gaps else float("nan")
