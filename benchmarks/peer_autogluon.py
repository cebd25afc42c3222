"""AutoGluon on one split; runs in an environment of its own (``pip install autogluon.tabular[all]``).

Called by ``benchmarks/quality.py``; needs nothing of remedi_spark.
"""

import argparse
import json
import shutil
import time
from pathlib import Path

import numpy as np
import pandas as pd
from autogluon.tabular import TabularPredictor


def main() -> None:
    """Fit, score the test rows, leave facts and scores, and remove the models."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--train", "--test", "--scores", "--facts", "--models"):
        parser.add_argument(name, required=True, type=Path)
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    drop = ["owner_id", "snapshot_date"]
    train = pd.read_parquet(given.train)
    # Rows of one owner stay together in AutoGluon's folds too.
    groups = "owner_id" if train["owner_id"].duplicated().any() else None
    features = train.drop(columns=[name for name in drop if name in train and name != groups])
    if groups:
        folds = np.random.default_rng(given.seed).integers(0, 8, train["owner_id"].nunique())
        features["owner_id"] = folds[pd.factorize(train["owner_id"])[0]]
    test = pd.read_parquet(given.test)
    start = time.time()
    predictor = TabularPredictor(
        "label", problem_type="binary", eval_metric="average_precision", path=str(given.models), groups=groups,
        verbosity=1,
    )  # fmt: skip
    predictor.fit(features, presets="best_quality", time_limit=given.seconds)
    probability = predictor.predict_proba(test.drop(columns=[name for name in drop if name in test]))[1]
    seconds = time.time() - start
    board = predictor.leaderboard(silent=True)[["model", "score_val", "fit_time"]]
    pd.DataFrame({"autogluon": probability.to_numpy()}).to_parquet(given.scores)
    given.facts.write_text(json.dumps({"seconds": seconds, "leaderboard": board.to_dict("records")}, indent=1))
    shutil.rmtree(given.models)


if __name__ == "__main__":
    main()
