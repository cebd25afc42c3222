"""Few owners, many snapshots, and a feature that only a handful of owners have: the report names it first."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from remedi_spark.cli import main

pytestmark = pytest.mark.slow
OWNERS, SNAPSHOTS, BUYERS = 300, 30, 6


def _table() -> pd.DataFrame:
    """Owners who have bought the category buy it again, above all those of a club; the rest is noise."""
    rng = np.random.default_rng(1)
    owner, day = np.divmod(np.arange(OWNERS * SNAPSHOTS), SNAPSHOTS)
    member = owner % (OWNERS // BUYERS) == 0
    gold = rng.random(len(owner)) < 0.5
    spent = np.where(member, rng.gamma(3.0, 20.0, len(owner)), 0.0)
    # The club tells of its own: a feature that follows from another one is the student's to use or to leave.
    chance = np.where(member, np.where(gold, 0.9, 0.2), np.where(gold, 0.007, 0.001))
    clubs = np.array([f"club {i}" for i in range(30)])
    towns = np.array(["north", "south", "west"])
    return pd.DataFrame({
        "owner": [f"o{i}" for i in owner],
        "day": (pd.Timestamp("2025-01-01") + pd.to_timedelta(7 * day, unit="D")).date,
        "spent_on_category": spent,
        "club": np.where(gold, "gold", clubs[owner % 30]),
        **{f"noise_{i}": rng.normal(size=len(owner)) for i in range(8)},
        "town": rng.choice(towns, OWNERS)[owner],  # not of membership, of which there are six
        "bought": (rng.random(len(owner)) < chance).astype(int),
    })  # fmt: skip


def test_the_strongest_planted_feature_comes_first(spark: Any, tmp_path: Path) -> None:
    _table().to_parquet(tmp_path / "owners.parquet")
    roles = ["--label", "bought", "--id", "owner", "--time", "day"]
    settings = ["--preset", "quick", "--set", "evaluation.bootstrap=0"]
    arguments = ["train", "--table", str(tmp_path / "owners.parquet"), *roles, "--model", str(tmp_path / "model")]
    with pytest.raises(SystemExit) as stop:
        main([*arguments, *settings])
    assert stop.value.code == 0
    tree = json.loads((tmp_path / "model" / "report.json").read_text())
    first = tree["importance"][0]
    assert first["feature"] == "spent_on_category"
    assert first["importance"] > 2 * tree["importance"][1]["importance"] or tree["importance"][1]["feature"] == "club"
    assert tree["effects"][0]["feature"] == "spent_on_category"
    # The direction is planted; how far a student of the quick preset goes is not.
    assert tree["effects"][0]["mean_score"][-1] > tree["effects"][0]["mean_score"][0]
    assert tree["segments"][0]["column"] == "club"
    assert "gold" in {one["level"] for one in tree["segments"] if one["column"] == "club"}
    assert tree["explained"]["owners"] == OWNERS
    models = {one["name"]: one["metrics"] for one in tree["models"]}
    assert (models["rank_mean"]["brier"], models["rank_mean"]["ece"]) == (None, None)
    assert models["mean"]["brier"] is not None
    metrics = (tmp_path / "model" / "metrics.json").read_text()
    assert json.loads(metrics)["models"]["rank_mean"]["brier"] is None
