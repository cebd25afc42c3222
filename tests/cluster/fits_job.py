"""Run by spark-submit: each kind of unit of work undisturbed, and again while the test kills an executor.

Prints one line an event: ``running NAME`` when tasks of the second time are under way, then ``ended NAME {…}``.
"""

from __future__ import annotations

import hashlib
import json
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pyspark.sql import functions as F

from remedi_spark.config.chain import LightGBMConfig, MLPConfig, XGBoostConfig
from remedi_spark.config.spark import SparkConfig
from remedi_spark.models.cross_fit import FoldFits, fit_fold
from remedi_spark.models.predict import score_by_fold
from remedi_spark.progress import log_to_stderr
from remedi_spark.samples.layout import Layout, Slot
from remedi_spark.spark.session import get_session
from remedi_spark.storage.fitted import Fitted

ROWS, WIDTH, SECONDS = 4000, 8, float(sys.argv[1])
HANGING = 0.1
"""Share of the seconds that SynapseML gets: its ring waits for the lost worker until it is cancelled."""
LAYOUT = Layout(tuple(Slot(i, "number") for i in range(WIDTH)))
TRIES = 5
"""Times that a unit is done to see its tasks run."""
MODELS: dict[str, Any] = {
    "lightgbm": LightGBMConfig(num_iterations=2000, early_stopping=2000, refit_below=0),
    "ring": LightGBMConfig(engine="native", num_iterations=10000, early_stopping=10000, refit_below=0),
    "xgboost": XGBoostConfig(num_iterations=600, early_stopping=600, refit_below=0),
    "torch": MLPConfig(epochs=150, patience=150, max_steps=2500, hidden=(64, 32)),
}


def main() -> None:
    """Fit and score, twice."""
    log_to_stderr()
    spark = get_session(SparkConfig())
    rows = _rows(spark, ROWS).cache()
    rows.count()
    patient = FoldFits(LAYOUT, 2, "label", "logistic", 0.2, ROWS, 0.2, 2, 7, seconds=SECONDS)
    fitted: dict[str, Fitted] = {}
    for name, model in MODELS.items():
        plan = replace(patient, seconds=HANGING * SECONDS) if name == "lightgbm" else patient

        def fit(model: Any = model, plan: FoldFits = plan) -> Fitted:
            return fit_fold(rows, model, plan, 0)

        fitted[name] = fit()
        _disturbed(spark, name, fit, lambda one, other=fitted[name]: {"same": one.payload == other.payload, **one.info})
    many = _rows(spark, 60 * ROWS)
    models = {name: [one, one] for name, one in fitted.items()}

    def score() -> str:
        scored = score_by_fold(many, models, LAYOUT).select("owner_id", *models).orderBy("owner_id").toPandas()
        return hashlib.sha256(scored.to_numpy().tobytes()).hexdigest()

    whole = score()
    _disturbed(spark, "scoring", score, lambda one: {"same": one == whole})


def _rows(spark: Any, count: int) -> Any:
    numbers = [F.round(F.rand(i) * 4 - 2, 3) for i in range(WIDTH)]
    base = spark.range(0, count, 1, 2).select(F.col("id").alias("owner_id"), F.array(*numbers).alias("x"))
    empty = F.array(*[F.array().cast("array<double>") for _ in range(3)])
    return base.select(
        "owner_id", "x", empty.alias("te"), (F.col("x")[0] + F.col("x")[1] > 1.2).cast("double").alias("label"),
        (F.col("owner_id") % 2).cast("int").alias("fold"), (F.col("owner_id") % 10).cast("int").alias("block"),
        F.lit(1.0).alias("weight"), F.xxhash64("owner_id").alias("row_hash"),
    )  # fmt: skip


def _disturbed(spark: Any, name: str, work: Callable[[], Any], judge: Callable[[Any], dict[str, Any]]) -> None:
    """Do the work once more, and tell when its tasks run; again, where they were over before they were seen."""
    seen, tries, started = False, 0, time.monotonic()
    outcome: dict[str, Any] = {}
    while not seen and tries < TRIES:
        tries += 1
        seen, outcome = _watched(spark, name, work, judge)
    outcome |= {"seconds": round(time.monotonic() - started, 1), "tries": tries}
    print(f"ended {name} {json.dumps(outcome, default=str)}", flush=True)


def _watched(
    spark: Any, name: str, work: Callable[[], Any], judge: Callable[[Any], dict[str, Any]]
) -> tuple[bool, dict[str, Any]]:
    before = set(spark.sparkContext.statusTracker().getActiveStageIds())
    over, seen = threading.Event(), threading.Event()

    def watch() -> None:
        tracker = spark.sparkContext.statusTracker()
        while not over.is_set():
            stages = [tracker.getStageInfo(stage) for stage in tracker.getActiveStageIds() if stage not in before]
            if any(stage is not None and stage.numActiveTasks for stage in stages):
                print(f"running {name}", flush=True)
                seen.set()
                return
            time.sleep(0.05)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        outcome = {"outcome": "done", **judge(work())}
    except Exception as error:
        outcome = {"outcome": "failed", "why": f"{type(error).__name__}: {error}"[:300]}
    over.set()
    watcher.join()
    return seen.is_set(), outcome


if __name__ == "__main__":
    main()
