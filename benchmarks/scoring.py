"""What `remedi score` costs beside a Spark job that only reads, multiplies and writes the same rows.

    python -m benchmarks.scoring --rows 800000 --out run/scoring
    python -m benchmarks.scoring --rows 800000 --out run/scoring --set student.kind=ensemble

Owners with 8 numbers and 2 categories, of whom 1 % buy, are drawn; 20,000 of them train a model once (kept below
``--out``, by the settings given). Timed are whole processes, sessions included, each the median of ``--repeats``, in
turn: the reference (read Parquet, x·w in an Arrow function, write Parquet), the score without reasons, and with three
for the first 7.5 %. Printed: seconds by the clock and of CPU with all
processes, most memory, and ratios to the reference.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.scale import REMEDI, Cost, run_measured

TRAINED = 20_000
REFERENCE = """
import sys
import numpy as np
import pyarrow as pa
from remedi_spark.config.spark import SparkConfig
from remedi_spark.spark.session import get_session

spark = get_session(SparkConfig(shuffle_partitions=4))
frame = spark.read.parquet(sys.argv[1]).select("owner_id", *[f"n{i}" for i in range(8)])

def multiplied(batches):
    weights = np.arange(1.0, 9.0)
    for batch in batches:
        x = np.column_stack([batch.column(i).to_numpy(zero_copy_only=False) for i in range(1, 9)])
        yield pa.RecordBatch.from_pydict({"owner_id": batch.column(0), "score": x @ weights})

frame.mapInArrow(multiplied, "owner_id string, score double").write.mode("overwrite").parquet(sys.argv[2])
"""


def draw(rows: int, seed: int) -> pd.DataFrame:
    """Owners of whom 1 % buy, by a number, another one beyond a step, and a category."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.gamma(1.5, 2.0, (rows, 8)).round(2), columns=[f"n{i}" for i in range(8)])
    frame["region"] = rng.choice([f"region {i}" for i in range(12)], rows)
    frame["brand"] = rng.choice([f"brand {i}" for i in range(60)], rows)
    drive = -7 + 0.4 * frame["n0"] + 1.5 * (frame["n1"] > 5) + (frame["region"] == "region 3")
    frame["bought"] = (rng.random(rows) < 1 / (1 + np.exp(-drive))).astype(int)
    return frame.assign(owner_id=[f"o{seed}-{i}" for i in range(rows)])


def main() -> None:
    """Train once, time the three commands in turn, print the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, default=800_000)
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--out", type=Path, default=Path("run/scoring"))
    options.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the training")
    given = options.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    table, train, model = (given.out / name for name in ("owners.parquet", "train.parquet", "model"))
    draw(given.rows, 1).drop(columns="bought").to_parquet(table, row_group_size=100_000)
    if not (model / "manifest.json").exists():
        draw(TRAINED, 0).to_parquet(train)
        settings = [word for one in given.set for word in ("--set", one)]
        roles = ["--label", "bought", "--id", "owner_id"]
        subprocess.run([*REMEDI, "train", "--table", str(train), *roles, "--model", str(model), *settings], check=True)
    out = str(given.out / "scores")
    score = [*REMEDI, "score", "--table", str(table), "--model", str(model), "--out", out]
    commands = {
        "read, multiply, write": [sys.executable, "-c", REFERENCE, str(table), out],
        "remedi score, no reasons": [*score, "--set", "scores.reasons=0"],
        "remedi score": score,
    }
    taken: dict[str, list[Cost]] = {name: [] for name in commands}
    for _ in range(given.repeats):
        for name, command in commands.items():
            shutil.rmtree(out, ignore_errors=True)
            taken[name].append(run_measured(command, given.out / "log"))
    reference = _median(taken["read, multiply, write"])
    print(f"{given.rows:,} rows x 10, median of {given.repeats}\n")
    print("| | seconds | CPU | GB | seconds / reference | CPU / reference |\n|---|---|---|---|---|---|")
    for name, costs in taken.items():
        one = _median(costs)
        ratios = f"{one.seconds / reference.seconds:.2f} | {one.cpu / reference.cpu:.2f}"
        print(f"| {name} | {one.seconds:.1f} | {one.cpu:.1f} | {one.peak:.1f} | {ratios} |")


def _median(costs: list[Cost]) -> Cost:
    return Cost(*(statistics.median(one) for one in zip(*map(astuple, costs), strict=True)))


if __name__ == "__main__":
    main()
