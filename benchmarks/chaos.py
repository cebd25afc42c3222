"""Kill a real training with SIGKILL at random moments, run it again each time, and compare what comes out in the end.

    python benchmarks/chaos.py --kills 20 --out run/chaos

A training that is not killed comes first: its scores and its duration D. Then trainings are killed, driver, JVM and
Python workers at once, at a moment drawn evenly from the first D seconds, and started again, until they end; a new one
begins after each that has ended, until there have been enough kills. Every training that ended must have the folds of
the first one, its scores to 1e-6, no owner twice and none missing.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

SETTINGS = (
    "spark.master=local[2]", "spark.shuffle_partitions=2", "base_models.folds=2", "evaluation.bootstrap=20",
    "base_models.only=[additive, lightgbm, lightgbm_small, xgboost, catboost]",
    "base_models.models.catboost.num_iterations=60",
    "student.models.tabm={kind: tabm, members: 8, width: 96, embedding_dim: 4, max_steps: 200}",
    "base_models.models.lightgbm.num_iterations=60",
    "base_models.models.lightgbm_small.num_iterations=60", "base_models.models.xgboost.num_iterations=60",
)  # fmt: skip


def main() -> None:
    """Run all of it and print a table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--kills", type=int, default=20)
    options.add_argument("--rows", type=int, default=2000)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--out", type=Path, required=True)
    given = options.parse_args()
    given.out.mkdir(parents=True)
    table = given.out / "owners.parquet"
    _world(given.rows).to_parquet(table)
    started = time.monotonic()
    _train(table, given.out / "whole", None)
    duration = time.monotonic() - started
    whole = _scores(given.out / "whole")
    print(f"not killed: {duration:.0f} s")
    chance, kills, ended = random.Random(given.seed), 0, 0
    while kills < given.kills:
        bundle, here = given.out / f"killed{ended}", 0
        while not _train(table, bundle, chance.uniform(0, duration) if kills < given.kills else None):
            kills, here = kills + 1, here + 1
        ended += 1
        mine = _scores(bundle)
        assert list(mine["owner_id"]) == list(whole["owner_id"]), "an owner is missing or stands twice"
        assert list(mine["fold"]) == list(whole["fold"])
        apart = float(np.abs(mine["student"] - whole["student"]).max())
        assert apart < 1e-6, apart
        print(f"training {ended}: killed {here} times, ended; scores differ by at most {apart:.1e}", flush=True)
    print(f"{kills} kills, {ended} trainings, all ended as the one that was not killed")


def _train(table: Path, bundle: Path, seconds: float | None) -> bool:
    """Train, or be killed after so many seconds; tell whether it ended by itself."""
    settings = [word for value in SETTINGS for word in ("--set", value)]
    words = ["train", "--table", str(table), "--label", "bought", "--id", "owner", "--model", str(bundle), *settings]
    with (table.parent / f"{bundle.name}.log").open("ab") as log:
        command = [str(Path(sys.executable).with_name("remedi")), *words]
        run = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            code = run.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(run.pid, signal.SIGKILL)
            run.wait()
            return False
    if code:
        raise SystemExit(f"exit code {code}: see {log.name}")
    return True


def _scores(bundle: Path) -> Any:
    """Read the student's scores."""
    return pd.read_parquet(bundle / "tables" / "student_scores").sort_values("owner_id", ignore_index=True)


def _world(rows: int) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    visits, city = rng.poisson(3, rows).astype(float), rng.choice(["a", "b", "c"], rows)
    drive = 0.9 * visits + 1.5 * (city == "b") + rng.gumbel(0, 1, rows)
    bought = np.zeros(rows, dtype=int)
    bought[np.argsort(-drive)[: rows // 20]] = 1
    height = rng.normal(170, 10, rows)
    columns = {"owner": np.arange(rows), "visits": visits, "city": city, "height": height, "bought": bought}
    return pd.DataFrame(columns)


if __name__ == "__main__":
    main()
