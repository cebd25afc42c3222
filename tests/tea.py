"""A small shop of purchase events: some owners buy tea, and the configuration that predicts it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import yaml


def tea_configuration(
    folder: Path, events: pd.DataFrame, windows: list[int], groups: dict[str, Any], *, spent: bool = False
) -> Path:
    """Write events (owner, at, product, …) and a configuration whose label is tea within 14 days; return its path.

    With ``spent`` the label is how much of the column ``value`` goes on tea.
    """
    label = {"column": "product", "category": "TEA"}
    if spent:
        label = {"filter": "product = 'TEA'", "kind": "sum", "of": "value"}
    events.to_parquet(folder / "events.parquet", coerce_timestamps="us")
    tree = {
        "root": str(folder / "run"),
        "task": "regression" if spent else "classification",
        "features": {
            "entity": "owner",
            "sources": {"events": {"path": str(folder / "events.parquet"), "event_time": "at"}},
            "label": {"source": "events", "horizon_days": 14, **label},
            "snapshots": {"every_days": 28, "history_days": 56},
            "windows": windows,
            "groups": {name: {"source": "events", **group} for name, group in groups.items()},
        },
    }
    path = folder / "tea.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path
