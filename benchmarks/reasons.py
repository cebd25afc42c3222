"""What reasons cost: the same rows scored, and scored and explained, in one thread as in a Spark task.

    python benchmarks/reasons.py --model run/complete_journey/model --table owner_features.parquet
    python benchmarks/reasons.py

Without --model, the default student (of three quick base models) is trained on owners drawn here. Prints JSON: seconds
are the median of the repeats, ``ratio`` is scored and explained over scored alone; ``parts`` does the same for each
model of the student by itself.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

import remedi_spark
from remedi_spark.bundle.bundle import Bundle

TRAINED_ROWS = 4000
OFF = [
    "lightgbm_small",
    "lightgbm_extra",
    "lightgbm_focal",
    "xgboost",
    "catboost",
    "deepfm",
    "tabm",
]


def draw(rows: int, seed: int = 0) -> pd.DataFrame:
    """Owners with 40 numbers and 4 categories, of which a number and a category act; 4 % buy."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.gamma(1.0, 3.0, (rows, 40)).round(1), columns=[f"n{i}" for i in range(40)])
    frame = frame.mask(rng.random(frame.shape) < 0.05)
    for i in range(4):
        frame[f"c{i}"] = rng.choice([f"level {j}" for j in range(5 + 10 * i)], rows)
    drive = frame["n0"].fillna(0) + 3 * (frame["c0"] == "level 1") + rng.gumbel(0, 1, rows)
    return frame.assign(owner_id=np.arange(rows), bought=(drive > drive.quantile(0.96)).astype(int))


def train(frame: pd.DataFrame, folder: str) -> Bundle:
    """Train the default student on a frame."""
    from remedi_spark.config.spark import SparkConfig
    from remedi_spark.spark.session import get_session

    off = [f"base_models.models.{name}.enabled=false" for name in OFF]
    spark = get_session(SparkConfig(master="local[2]", shuffle_partitions=2))
    owners = spark.createDataFrame(frame.astype(object).where(frame.notna(), None))
    settings = ["base_models.folds=3", "evaluation.bootstrap=20", *off]
    model = remedi_spark.train(owners, label="bought", id="owner_id", model=folder, settings=settings)
    spark.stop()
    return model.bundle


def seconds(work: Callable[[], Any], repeats: int) -> float:
    """Median time of a call, after one that does not count."""
    work()
    taken = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return float(np.median(taken))


def measure(bundle: Bundle, canonical: pd.DataFrame, reasons: int, repeats: int) -> dict[str, float]:
    """Time the two ways over the same rows."""
    scored = seconds(lambda: bundle.score(canonical), repeats)
    explained = seconds(lambda: (bundle.score(canonical), bundle.explain(canonical, reasons)), repeats)
    return {"scored": round(scored, 4), "explained": round(explained, 4), "ratio": round(explained / scored, 2)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="bundle; default: one that is trained now")
    parser.add_argument("--table", help="parquet with its features; default: rows drawn here")
    parser.add_argument("--rows", type=int, default=300, help="rows scored and explained, at most")
    parser.add_argument("--reasons", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    if bool(options.model) != bool(options.table):
        parser.error("--model and --table go together")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        frame = pd.read_parquet(options.table) if options.table else draw(TRAINED_ROWS)
        bundle = remedi_spark.load(options.model) if options.model else train(frame, str(Path(folder) / "model"))
    canonical = bundle.contract.canonical(frame.head(options.rows))
    parts = {
        name: measure(
            Bundle(replace(bundle.parts, students={name: folds})), canonical, options.reasons, options.repeats
        )
        for name, folds in bundle.parts.students.items()
    }
    whole = measure(bundle, canonical, options.reasons, options.repeats)
    features, folds = len(bundle.contract.features), bundle.encoder.folds
    facts = {"rows": len(canonical), "features": features, "folds": folds, "reasons": options.reasons}
    print(json.dumps({**facts, **whole, "parts": parts}))


if __name__ == "__main__":
    main()
