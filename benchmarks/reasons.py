"""What reasons cost: the same rows scored, and scored and explained, in one thread as in a Spark task.

    python benchmarks/reasons.py --model run/complete_journey/model --table owner_features.parquet
    python benchmarks/reasons.py

Without --model, the default student (of three quick base models) is trained on owners drawn here. Prints JSON: seconds
are the median of the repeats, ``first`` those of the first call that explains, ``ratio`` is scored and explained over
scored alone; ``parts`` does the same for each model of the student by itself. Fewer folds make scoring cheaper, and
reasons as much dearer in comparison: one fold explains. ``treeshap`` is about as many rows, those with the highest
scores: the share of their ``reasons`` that TreeSHAP names too, and of their ``first`` reasons that are first there. Its
reference is the mean training row, not the usual owner, so that the two answer different questions.
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

import lightgbm
import numpy as np
import pandas as pd
import torch

import remedi_spark
from remedi_spark.models.catboost.predict import Columns, load
from remedi_spark.models.contract import Array
from remedi_spark.scoring.bundle import Bundle
from remedi_spark.scoring.reasons import EXPLAINED
from remedi_spark.storage.fitted import Fitted

TRAINED_ROWS = 4000
ONLY = "base_models.only=[additive, lightgbm, catboost_categories]"


def draw(rows: int, seed: int = 0) -> pd.DataFrame:
    """Owners with 40 numbers and 4 categories, of which a number and a category act; 4 % buy."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.gamma(1.0, 3.0, (rows, 40)).round(1), columns=[f"n{i}" for i in range(40)])
    frame = frame.mask(rng.random(frame.shape) < 0.05)
    for i in range(4):
        frame[f"c{i}"] = rng.choice([f"level {j}" for j in range(5 + 10 * i)], rows)
    drive = frame["n0"].fillna(0) + 3 * (frame["c0"] == "level 1") + rng.gumbel(0, 1, rows)
    return frame.assign(owner_id=np.arange(rows), bought=(drive > drive.quantile(0.96)).astype(int))


def train(frame: pd.DataFrame, folder: str, folds: int | None) -> Bundle:
    """Train the default student on a frame, with the default number of folds for None."""
    from remedi_spark.config.spark import SparkConfig
    from remedi_spark.spark.session import get_session

    spark = get_session(SparkConfig(master="local[2]", shuffle_partitions=2))
    owners = spark.createDataFrame(frame.astype(object).where(frame.notna(), None))
    settings = ["evaluation.bootstrap=20", ONLY, *([f"base_models.folds={folds}"] if folds else [])]
    model = remedi_spark.train(owners, label="bought", id="owner_id", model=folder, settings=settings)
    spark.stop()
    return model.bundle


def seconds(work: Callable[[], Any], repeats: int) -> tuple[float, float]:
    """Median time of a call after the first, and the first call's."""
    taken = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return float(np.median(taken[1:])), taken[0]


def measure(bundle: Bundle, canonical: pd.DataFrame, reasons: int, repeats: int) -> dict[str, float]:
    """Time the two ways over the same rows."""
    scored, _ = seconds(lambda: bundle.score(canonical), repeats)
    explained, first = seconds(lambda: bundle.explain(canonical, reasons, bundle.score(canonical)), repeats)
    times = {"scored": round(scored, 4), "explained": round(explained, 4), "first": round(first, 2)}
    return {**times, "ratio": round(explained / scored, 2)}


def treeshap(bundle: Bundle, canonical: pd.DataFrame, reasons: int) -> dict[str, float] | None:
    """Compare the reasons with TreeSHAP's; None where a part of the student has none."""
    fitted = [models[EXPLAINED] for models in bundle.parts.students.values()]
    if not {one.kind for one in fitted} <= {"lightgbm", "catboost"}:
        return None
    x = bundle.encoder.transform(canonical, leave_out=bundle.left_out[EXPLAINED])
    owners = [slot.feature for slot in bundle.encoder.layout.slots]
    by_feature = np.zeros((len(bundle.contract.features), len(x)))
    np.add.at(by_feature, owners, sum(tree_shap(one, x) for one in fitted).T)
    strongest = np.argsort(-np.abs(by_feature.T), axis=1)[:, :reasons]
    names = bundle.contract.names
    given = [[names.index(one.feature) for one in row] for row in bundle.explain(canonical, reasons)]
    pairs = list(zip(given, strongest.tolist(), strict=True))
    shared = np.mean([len({*one} & {*other}) / reasons for one, other in pairs])
    first = np.mean([one[0] == other[0] for one, other in pairs])
    return {"reasons": round(float(shared), 3), "first": round(float(first), 3)}


def tree_shap(fitted: Fitted, x: Array) -> Array:
    """TreeSHAP values by slot, (n, width), of a LightGBM or CatBoost model's own library."""
    if fitted.kind == "lightgbm":
        booster = lightgbm.Booster(model_str=fitted.payload.decode())
        return np.asarray(booster.predict(x, pred_contrib=True))[:, :-1]
    categories = fitted.info["categories"]
    columns = Columns([i for i in range(x.shape[1]) if i not in categories], categories)
    found = np.zeros(x.shape)
    values = load(fitted.payload).get_feature_importance(columns.pool(x), type="ShapValues")
    found[:, [*columns.numbers, *columns.categories]] = values[:, :-1]
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="bundle; default: one that is trained now")
    parser.add_argument("--table", help="parquet with its features; default: rows drawn here")
    parser.add_argument("--rows", type=int, default=300, help="rows scored and explained, at most")
    parser.add_argument("--reasons", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folds", type=int, help="of the student that is trained; default: the package's default")
    options = parser.parse_args()
    if bool(options.model) != bool(options.table):
        parser.error("--model and --table go together")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        frame = pd.read_parquet(options.table) if options.table else draw(TRAINED_ROWS)
        bundle = (
            remedi_spark.load(options.model)
            if options.model
            else train(frame, str(Path(folder) / "model"), options.folds)
        )
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
    every = bundle.contract.canonical(frame)
    best = every.iloc[np.argsort(-bundle.score(every))[: options.rows]].reset_index(drop=True)
    print(json.dumps({**facts, **whole, "treeshap": treeshap(bundle, best, options.reasons), "parts": parts}))


if __name__ == "__main__":
    main()
