"""Runs of the feature stage over the world of :mod:`naive_features`, and what they leave."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pandas as pd
from more_aggregates import MORE
from naive_features import TREE

from remedi_spark.config.features import FeaturesConfig
from remedi_spark.config.loading import merge
from remedi_spark.storage.tables import Tables

KEY = ["owner_id", "snapshot_date"]
TODAY = dt.date(2024, 6, 30)


def declared(path: Path, *, every: bool = False, **over: Any) -> FeaturesConfig:
    """Return a declaration of some aggregations, or of every one."""
    measures = {
        name: measure | ({} if name in ("last", "first") else {"windows": [30]})
        for name, measure in TREE["groups"]["total"]["measures"].items()
        if name in ("count", "spend", "std", "max", "items", "days", "last", "first")
    }
    tree = TREE | {
        "sources": {"events": TREE["sources"]["events"] | {"path": str(path)}},
        "groups": {"total": {"source": "events", "measures": measures}}
        | ({"more": MORE["more"] | {"windows": [30, "ever"]}} if every else {}),
        "snapshots": TREE["snapshots"] | {"end": None, "data_end": None},
    }
    return FeaturesConfig.model_validate(merge(tree, over))


def result(tables: Tables) -> pd.DataFrame:
    return tables.read("owner_features").toPandas().sort_values(KEY, ignore_index=True)


def state(tables: Tables) -> dict[str, Any]:
    stored: dict[str, Any] = json.loads(tables.read("feature_state").collect()[0]["state"])
    return stored


class KilledError(Exception):
    """Stands for the process that dies."""
