"""Groups with every aggregation, over the world of :mod:`naive_features`."""

from __future__ import annotations

from typing import Any

AMOUNT = {"of": "amount"}
MORE: dict[str, Any] = {
    "more": {
        "source": "events",
        "windows": [7, 30, "ever"],
        "measures": {
            "count": {"aggregate": "count"},
            "variance": {"aggregate": "variance", **AMOUNT},
            "skew": {"aggregate": "skew", **AMOUNT},
            "median": {"aggregate": "median", **AMOUNT},
            "p90": {"aggregate": "percentile", "at": 0.9, **AMOUNT},
            "about_p25": {"aggregate": "approx_percentile", "at": 0.25, **AMOUNT},
            "about_items": {"aggregate": "approx_distinct", "of": "item"},
            "first": {"aggregate": "first", **AMOUNT},
            "last": {"aggregate": "last", **AMOUNT},
            "firsts": {"aggregate": "first_k", "k": 2, **AMOUNT},
            "lasts": {"aggregate": "last_k", "k": 3, **AMOUNT},
            "kind": {"aggregate": "last", "of": "kind"},
            "kinds": {"aggregate": "first_k", "k": 2, "of": "concat(kind, item)"},
            "largest": {"aggregate": "top_k", "k": 3, **AMOUNT},
            "smallest": {"aggregate": "bottom_k", "k": 2, **AMOUNT},
            "gap_max": {"aggregate": "gap_max"},
            "streak": {"aggregate": "streak_max"},
            "regularity": {"aggregate": "regularity"},
            "paid_regularity": {"aggregate": "regularity", **AMOUNT},
        },
    },
    "weekday": {
        "source": "events",
        "calendar": "weekday",
        "measures": {"share": {"aggregate": "share", "within": "more"}},
    },
    "hours": {"source": "events", "calendar": "time_of_day", "measures": {"count": {"aggregate": "count"}}},
    "late": {
        "source": "events",
        "where": "kind <> 'd'",
        "windows": ["5h", "54h", "48h"],
        "measures": {
            "count": {"aggregate": "count"},
            "paid": {"aggregate": "count", **AMOUNT},
            "sum": {"aggregate": "sum", **AMOUNT},
            "mean": {"aggregate": "mean", **AMOUNT},
            "max": {"aggregate": "max", **AMOUNT},
            "min": {"aggregate": "min", **AMOUNT},
            "std": {"aggregate": "std", **AMOUNT},
            "days": {"aggregate": "active_days"},
            "gap": {"aggregate": "gap_mean"},
            "share": {"aggregate": "share", "within": "more"},
            "trend": {"aggregate": "trend", "windows": ["30h", 7]},
        },
    },
    "size": {
        "source": "events",
        "each": "amount",
        "edges": [10, 50.5],
        "measures": {"count": {"aggregate": "count"}, "sum": {"aggregate": "sum", **AMOUNT}},
    },
}
