"""The tables that every platform computes from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from tests.cli.conftest import world

CHAIN = [
    "base_models.folds=2", "evaluation.bootstrap=20", "fuser.steps=20", "fuser.seeds=1",
    "base_models.only=[additive, lightgbm]", "base_models.models.lightgbm.num_iterations=20",
    "base_models.models.additive.iterations=8", "student.models.lightgbm.num_iterations=30",
]  # fmt: skip
"""Settings of a chain from events that takes seconds."""
BACKTEST = CHAIN
ADAPT: dict[str, Any] = {
    "segment": ["brand"],
    "split": {"test_every": 6, "validation_every": 4},
    "tasks": {
        "positives": [5, 10], "support_rows": 64, "query_rows": 64, "gap_days": 28, "history_days": 200,
        "min_positives": 5,
    },
    "net": {"kind": "mlp", "embedding_dim": 2, "hidden": [8], "n_bins": 4},
    "pooled": {"epochs": 3, "batch_size": 512, "fine_tune_rate": 0.1, "fine_tune_steps": 3},
    "meta": {"algorithm": "maml", "iterations": 8, "tasks_per_batch": 4, "inner_rate": 0.1, "inner_steps": 2,
             "check_every": 4},
}  # fmt: skip
LATER = pd.Timestamp("2026-07-10", tz="UTC")
"""From here on events come after the first run."""


def write_inputs(folder: Path) -> None:
    """Write owners, events (early and late), segments, and the configurations of chain and adaptation."""
    folder.mkdir(parents=True, exist_ok=True)
    world().to_parquet(folder / "owners.parquet", coerce_timestamps="us")
    events = tea_events()
    events[events["at"] < LATER].to_parquet(folder / "early.parquet", coerce_timestamps="us")
    events[events["at"] >= LATER].to_parquet(folder / "late.parquet", coerce_timestamps="us")
    count = {"aggregate": "count"}
    features = {
        "entity": "owner",
        "sources": {"events": {"path": "{folder}/events", "event_time": "at"}},
        "label": {"source": "events", "horizon_days": 14, "column": "product", "category": "TEA"},
        "snapshots": {"every_days": 28, "history_days": 56},
        "windows": [28],
        "groups": {
            "all": {"source": "events", "measures": {
                "count": count, "spend": {"aggregate": "sum", "of": "value"},
                "mean": {"aggregate": "mean", "of": "value"}, "days": {"aggregate": "active_days"},
                "last": {"aggregate": "days_since_last"}, "products": {"aggregate": "distinct", "of": "product"}}},
            "tea": {"source": "events", "where": "product = 'TEA'", "measures": {"count": count}},
        },
    }  # fmt: skip
    tree = {"root": "{folder}/run", "task": "classification", "features": features}
    (folder / "tea.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    (folder / "adapt.yaml").write_text(yaml.safe_dump({"adapt": ADAPT}), encoding="utf-8")
    segments().to_parquet(folder / "segments.parquet")
    support = segments(segments=1, seed=9)
    support[support["day"] == support["day"].min()].drop(columns=["brand", "day"]).to_parquet(
        folder / "support.parquet"
    )


def tea_events(owners: int = 300, days: int = 224, seed: int = 0) -> pd.DataFrame:
    """Purchases; some owners buy tea again and again, more of them from day 140 on."""
    rng = np.random.default_rng(seed)
    count = owners * days // 8
    owner, day = rng.integers(0, owners, count), rng.integers(0, days, count)
    likes = (owner % 5 == 0) | ((owner % 5 == 1) & (day >= 140))
    product = np.where(likes & (rng.random(count) < 0.4), "TEA", "BREAD")
    at = pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(day, unit="D")
    value = np.round((1 + owner % 7) * np.exp(0.3 * rng.normal(size=count)), 2)
    return pd.DataFrame({"owner": owner, "at": at, "product": product, "value": value})


def segments(segments: int = 8, owners: int = 120, seed: int = 0) -> pd.DataFrame:
    """Owners at two snapshots in each segment; feature ``x<j>`` decides in segments with number ≡ j (mod 4)."""
    rng = np.random.default_rng(seed)
    parts = []
    for number in range(segments):
        for snapshot in ("2026-01-31", "2026-03-31"):
            x = rng.normal(size=(owners, 4))
            drive = 3 * x[:, number % 4] + rng.gumbel(size=owners)
            part = pd.DataFrame(x, columns=[f"x{j}" for j in range(4)])
            part["city"] = rng.choice(["Köln", "Łódź"], owners)
            part["owner"] = [f"o{i}" for i in range(owners)]
            part["brand"] = f"brand {number:02d}"
            part["day"] = pd.Timestamp(snapshot).date()
            part["bought"] = (drive > np.quantile(drive, 0.85)).astype(int)
            parts.append(part)
    return pd.concat(parts, ignore_index=True)
