"""The tables that every platform computes from, and the settings that it computes with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from tests.adaptation.conftest import FAST as ADAPT
from tests.adaptation.conftest import segment_world
from tests.cli.conftest import world

LATER = pd.Timestamp("2026-07-10", tz="UTC")
"""From here on events come after the first run."""
OWNERS, DAYS = 300, 224
_COUNT = {"aggregate": "count"}
_FEATURES: dict[str, Any] = {
    "entity": "owner",
    "sources": {"events": {"path": "{folder}/events", "event_time": "at"}},
    "label": {"source": "events", "horizon_days": 14, "column": "product", "category": "TEA"},
    "snapshots": {"every_days": 28, "history_days": 56},
    "windows": [28],
    "groups": {
        "all": {"source": "events", "measures": {
            "count": _COUNT, "spend": {"aggregate": "sum", "of": "value"},
            "mean": {"aggregate": "mean", "of": "value"}, "days": {"aggregate": "active_days"},
            "last": {"aggregate": "days_since_last"}, "products": {"aggregate": "distinct", "of": "product"}}},
        "tea": {"source": "events", "where": "product = 'TEA'", "measures": {"count": _COUNT}},
    },
}  # fmt: skip


def write_inputs(folder: Path) -> None:
    """Write owners, others to measure on, events (early and late), segments, and configurations."""
    folder.mkdir(parents=True, exist_ok=True)
    owners = world()
    owners.to_parquet(folder / "owners.parquet", coerce_timestamps="us")
    others = owners.tail(50).assign(owner=[f"other{i}" for i in range(50)])
    others.to_parquet(folder / "others.parquet", coerce_timestamps="us")
    events = _events()
    events[events["at"] < LATER].to_parquet(folder / "early.parquet", coerce_timestamps="us")
    events[events["at"] >= LATER].to_parquet(folder / "late.parquet", coerce_timestamps="us")
    tree = {"root": "{folder}/run", "task": "classification", "features": _FEATURES}
    (folder / "tea.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    (folder / "adapt.yaml").write_text(yaml.safe_dump({"adapt": ADAPT}), encoding="utf-8")
    segments = segment_world()
    segments.to_parquet(folder / "segments.parquet")
    support = segments[(segments["brand"] == "brand 03") & (segments["day"] == segments["day"].min())]
    support.drop(columns=["brand", "day"]).to_parquet(folder / "support.parquet")


def _events() -> pd.DataFrame:
    """Draw purchases; some owners buy tea again and again, more of them from day 140 on."""
    rng = np.random.default_rng(0)
    count = OWNERS * DAYS // 8
    owner, day = rng.integers(0, OWNERS, count), rng.integers(0, DAYS, count)
    likes = (owner % 5 == 0) | ((owner % 5 == 1) & (day >= 140))
    product = np.where(likes & (rng.random(count) < 0.4), "TEA", "BREAD")
    at = pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(day, unit="D")
    value = np.round((1 + owner % 7) * np.exp(0.3 * rng.normal(size=count)), 2)
    return pd.DataFrame({"owner": owner, "at": at, "product": product, "value": value})
