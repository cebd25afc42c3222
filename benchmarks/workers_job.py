"""Run by spark-submit (benchmarks/workers.py): train on a table, score it, print the seconds of each stage as JSON.

Arguments: the table, and a folder for model and scores.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from remedi_spark import chain
from remedi_spark.config import load_config
from remedi_spark.progress import log_to_stderr
from remedi_spark.samples.flat import FlatTable
from remedi_spark.scoring import stage as scores
from remedi_spark.spark.session import get_session

TREES = 100
SETTINGS = (
    "base_models.folds=3", "base_models.only=[lightgbm, xgboost]", "student.kind=distilled",
    "evaluation.bootstrap=20", "fuser.max_rows=50000",
    f"student.models.catboost.num_iterations={TREES}",
    *(f"base_models.models.{name}.num_iterations={TREES}" for name in ("lightgbm", "xgboost")),
)  # fmt: skip


def main() -> None:
    """Do it, and print one line."""
    log_to_stderr()
    table, folder = sys.argv[1], Path(sys.argv[2])
    config = load_config(None, SETTINGS)
    spark = get_session(config.spark)
    bundle = folder / "model"
    chain.train(spark, FlatTable(table, "bought", "owner"), bundle, config)
    started = time.monotonic()
    scores.score(spark, table, str(bundle), str(folder / "scores.parquet"), config)
    durations = json.loads((bundle / "durations.json").read_text())
    print(json.dumps({**durations, "score": time.monotonic() - started}))


if __name__ == "__main__":
    main()
