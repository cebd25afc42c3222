"""A small log in which it is known who buys what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

ITEMS = [f"{kind} {name}" for kind in ("cheese", "bread", "wine", "soap") for name in ("red", "white", "small", "big")]
FAST = {
    "source": "events", "item": "category", "parent": "aisle", "value": "spend", "candidates": 8,
    "learning_snapshots": 1, "test_snapshots": 1, "trees": {"trees": 15, "num_leaves": 7, "min_data_in_leaf": 20},
    "cold": {"buyers": 3, "share": 0.25, "shown": [0, 5]}, "recommenders": {"neighbours": 10},
}  # fmt: skip


def daily_rates(owners: int = 120, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Chance that an owner buys an item on a day: each likes some kinds, which it buys ten times as often."""
    rng = np.random.default_rng(seed)
    likes = rng.random((owners, 4)) < 0.4
    return np.asarray(np.where(np.repeat(likes, 4, axis=1), 0.05, 0.005) * rng.uniform(0.3, 1.5, len(ITEMS)))


def log_of(owners: int = 120, days: int = 168, seed: int = 0) -> pd.DataFrame:
    """Return what they bought in some months."""
    rate, rng = daily_rates(owners, seed), np.random.default_rng(seed + 1)
    bought = rng.random((days, owners, len(ITEMS))) < rate
    day, owner, item = np.nonzero(bought)
    return pd.DataFrame(
        {
            "owner": [f"o{number:03d}" for number in owner], "category": np.array(ITEMS)[item],
            "aisle": [ITEMS[number].split()[0] for number in item],
            "day": pd.Timestamp("2026-01-01") + pd.to_timedelta(day, unit="D"),
            "spend": np.round(rng.gamma(2.0, 2.0, len(day)), 2),
        }
    )  # fmt: skip


def settings(events: Path, root: Path, **guide: Any) -> dict[str, Any]:
    """The configuration of a guide over a log, and of a table of owners where one is beside it."""
    owners = events.with_name("owners.parquet")
    attributes = {"owners": {"path": str(owners), "columns": ["city"]}} if owners.exists() else {}
    return {
        "root": str(root),
        "features": {
            "entity": "owner", "sources": {"events": {"path": str(events), "event_time": "day"}},
            "attributes": attributes,
            "groups": {"all": {"source": "events", "measures": {"lines": {"aggregate": "count"}}}},
            "label": {"source": "events", "horizon_days": 28}, "snapshots": {"data_end": "2026-06-17"},
        },
        "guide": {**FAST, **guide},
    }  # fmt: skip


def write(folder: Path, frame: pd.DataFrame, **guide: Any) -> Path:
    """Write a log and its configuration; return the latter's path."""
    folder.mkdir(parents=True, exist_ok=True)
    frame.astype({"day": "datetime64[us]"}).to_parquet(folder / "events.parquet", index=False)
    path = folder / "guide.yaml"
    path.write_text(yaml.safe_dump(settings(folder / "events.parquet", folder / "run", **guide)))
    return path


@pytest.fixture(scope="session")
def log() -> pd.DataFrame:
    """The log."""
    return log_of()
