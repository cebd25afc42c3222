"""Segments in which another feature decides, so that a pooled net cannot know and a support can tell."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from remedi_spark.cli import main
from remedi_spark.config.adapt import AdaptConfig

FEATURES = 4
FAST = {
    "segment": ["brand"],
    "split": {"test_every": 6, "validation_every": 4},
    "tasks": {
        "positives": [5, 10], "support_rows": 64, "query_rows": 64, "gap_days": 28, "history_days": 200,
        "min_positives": 5,
    },
    "net": {"kind": "mlp", "embedding_dim": 2, "hidden": [8], "n_bins": 4},
    "pooled": {"epochs": 3, "batch_size": 512, "fine_tune_rate": 0.1, "fine_tune_steps": 3},
    "teacher": {"folds": 2, "trees": 1, "nets": 1, "rounds": 20, "rows_in_leaf": 20},
    "meta": {"algorithm": "maml", "iterations": 8, "tasks_per_batch": 4, "inner_rate": 0.1, "inner_steps": 2,
             "check_every": 4},
}  # fmt: skip


def segment_world(segments: int = 12, owners: int = 200, seed: int = 0) -> pd.DataFrame:
    """Owners at two snapshots in each segment; feature ``x<j>`` decides in segments with number ≡ j (mod 4)."""
    rng = np.random.default_rng(seed)
    parts = []
    for number in range(segments):
        for snapshot in ("2026-01-31", "2026-03-31"):
            x = rng.normal(size=(owners, FEATURES))
            drive = 3 * x[:, number % FEATURES] + rng.gumbel(size=owners)
            part = pd.DataFrame(x, columns=[f"x{j}" for j in range(FEATURES)])
            part["city"] = rng.choice(["Köln", "Łódź"], owners)
            part["owner"] = [f"o{i}" for i in range(owners)]
            part["brand"] = f"brand {number:02d}"
            part["day"] = pd.Timestamp(snapshot).date()
            part["bought"] = (drive > np.quantile(drive, 0.85)).astype(int)
            parts.append(part)
    return pd.concat(parts, ignore_index=True)


def fast(**changes: Any) -> AdaptConfig:
    """Settings that keep a meta-training to some seconds."""
    return AdaptConfig.model_validate({**FAST, **changes})


@dataclass(frozen=True)
class MetaTrainedWorld:
    """A meta model, the table it saw and its rows."""

    model: Path
    table: Path
    frame: pd.DataFrame


@pytest.fixture(scope="session")
def meta_trained(spark: Any, tmp_path_factory: pytest.TempPathFactory) -> MetaTrainedWorld:
    """Meta-train once, on one worker, through the command line."""
    folder = tmp_path_factory.mktemp("adapt")
    frame = segment_world()
    table, config = folder / "rows.parquet", folder / "adapt.yaml"
    frame.to_parquet(table)
    config.write_text(yaml.safe_dump({"adapt": FAST}))
    with pytest.raises(SystemExit) as stop:
        main(["adapt", "meta-train", "--model", str(folder / "meta"), "--table", str(table), "--label", "bought",
              "--id", "owner", "--time", "day", "--config", str(config)])  # fmt: skip
    assert stop.value.code == 0
    return MetaTrainedWorld(folder / "meta", table, frame)
