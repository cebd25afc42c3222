"""A small world of owners with every kind of column, and a bundle trained on it through the command line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from remedi_spark.cli import main

FAST = [
    "base_models.folds=2",
    "base_models.only=[lightgbm, xgboost, mlp]",
    "base_models.models.lightgbm.num_iterations=40",
    "base_models.models.xgboost.num_iterations=40",
    "base_models.models.mlp={kind: mlp, epochs: 6, hidden: [16]}",
    "student.models.mlp={kind: mlp, epochs: 8, hidden: [16]}",
    "student.models.catboost=null",
    "fuser.steps=40",
    "student.kind=distilled",
    "evaluation.bootstrap=20",
]  # fmt: skip
"""Settings that keep a whole training below half a minute."""
FASTEST = [*FAST, "base_models.only=[lightgbm, mlp]"]
"""The same with two base models, for tests of what comes around them."""

WITH_ADDITIVE = ["--set", "base_models.only=[additive, lightgbm, xgboost, mlp]"]


def world(rows: int = 1000, positives: int = 40, seed: int = 0) -> pd.DataFrame:
    """Owners whose chance to buy rises with visits and differs by city; awkward names and types."""
    rng = np.random.default_rng(seed)
    visits = rng.poisson(3, rows).astype(float)
    city = rng.choice(["Köln", "Łódź", "a,b", 'quo"te', "x y"], rows)
    drive = 0.9 * visits + 1.5 * (city == "Köln") + rng.gumbel(0, 1, rows)
    label = np.zeros(rows, dtype=int)
    label[np.argsort(-drive)[:positives]] = 1
    visits[rng.random(rows) < 0.05] = np.nan
    since = pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 2000, rows), unit="D")
    return pd.DataFrame({
        "owner": [f"o{i}" for i in range(rows)],
        "visits, last 28 days": visits,
        "city.name": pd.Series(city).where(rng.random(rows) > 0.03, None),
        'model "quoted" [x]': [f"m{i}" for i in rng.integers(0, 5000, rows)],
        "größe {m}": rng.normal(170, 10, rows),
        "is:active": rng.random(rows) < 0.5,
        "since": since.date,
        "last `seen`": since + pd.to_timedelta(rng.integers(0, 86_400, rows), unit="s"),
        "constant": 7,
        "bought": label,
    })  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What a command left: exit code, what it printed."""

    code: int
    out: str
    err: str

    @property
    def message(self) -> str:
        """The last line on stderr."""
        lines = self.err.strip().splitlines()
        return lines[-1] if lines else ""


Command = Callable[..., Outcome]


@dataclass(frozen=True)
class Trained:
    """A trained bundle and the table it was trained on."""

    bundle: Path
    table: Path
    frame: pd.DataFrame


def train_arguments(table: Path | str, bundle: Path | str, *more: str) -> list[str]:
    """Arguments of a fast training."""
    settings = [part for value in FAST for part in ("--set", value)]
    return [
        "train",
        "--table",
        str(table),
        "--label",
        "bought",
        "--id",
        "owner",
        "--model",
        str(bundle),
        *settings,
        *more,
    ]


def train_a_bundle(folder: Path) -> Trained:
    """Train on 1,000 owners, 40 of them buyers: the smallest table that must work."""
    frame = world()
    table = folder / "owners.parquet"
    frame.to_parquet(table, coerce_timestamps="us")
    with pytest.raises(SystemExit) as stop:
        main(train_arguments(table, folder / "model", *WITH_ADDITIVE))
    assert stop.value.code == 0
    return Trained(folder / "model", table, frame)
