"""LightGBM by one worker, by its own ring of workers and by SynapseML: seconds, CPU, trees and AP on held-out rows.

    python -m benchmarks.lightgbm_ring --rows 800000 --out run/ring

All engines fit the same rows, drawn with 5 positives in 1,000, on one machine with as many slots as workers; a quarter
as many rows again are held out. Each fit is done ``--repeats`` times, the engines in turn; the first of each is warm-up
as well, and every time is printed. CPU is of all processes together, the JVM's compiler included.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.metrics import average_precision_score

from remedi_spark.config.chain import LightGBMConfig
from remedi_spark.config.spark import SparkConfig
from remedi_spark.models.contract import TrainingSet
from remedi_spark.models.lightgbm.fit import LightGBMLearner
from remedi_spark.models.predictors import load_predictor
from remedi_spark.models.spark_examples import SparkExamples
from remedi_spark.samples.layout import Layout, Slot
from remedi_spark.spark.session import get_session

POSITIVES = 0.005
FILES = 8


def main() -> None:
    """Print a line for each fit."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, default=800_000)
    options.add_argument("--width", type=int, default=40)
    options.add_argument("--workers", type=int, default=2)
    options.add_argument("--trees", type=int, default=200)
    options.add_argument("--objective", default="binary", choices=("binary", "focal"))
    options.add_argument("--repeats", type=int, default=2)
    options.add_argument("--out", type=Path, required=True, help="folder for the rows")
    given = options.parse_args()
    given.out.mkdir(parents=True)
    x, label = _draw(given.rows + given.rows // 4, given.width)
    _write(given.out, x[: given.rows], label[: given.rows])
    held_out, truth = x[given.rows :].copy(), label[given.rows :]
    spark = get_session(SparkConfig(master=f"local[{given.workers}]", driver_memory="5g", shuffle_partitions=4))
    frame = spark.read.parquet(str(given.out)).cache()
    frame.count()
    layout = Layout(tuple(Slot(i, "number") for i in range(given.width)))
    ways = {"one worker": ("native", 1), "ring": ("native", given.workers), "SynapseML": ("synapseml", given.workers)}
    print(f"{'':<12}{'workers':>8}{'seconds':>10}{'CPU':>10}{'trees':>7}{'AP':>9}")
    for _ in range(given.repeats):
        for name, (engine, workers) in ways.items():
            config = LightGBMConfig(
                engine=engine, objective=given.objective, num_iterations=given.trees, early_stopping=30
            )
            data = TrainingSet(SparkExamples(frame), layout, "logistic", POSITIVES, given.rows, workers, 7)
            start, before = time.monotonic(), _cpu_seconds()
            fitted = LightGBMLearner(config).fit(data)
            seconds = time.monotonic() - start
            used = sum(cpu - before.get(pid, 0.0) for pid, cpu in _cpu_seconds().items())
            ap = average_precision_score(truth, load_predictor(fitted)(held_out))
            print(f"{name:<12}{workers:>8}{seconds:>10.1f}{used:>10.1f}{fitted.info['trees']:>7}{ap:>9.4f}", flush=True)
    spark.stop()


def _cpu_seconds() -> dict[int, float]:
    """Return by process what this one and all that it has started have used so far; those that have ended are gone."""
    parents, used = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rsplit(")", 1)[1].split()
        except OSError:  # it has ended meanwhile
            continue
        pid = int(path.parent.name)
        parents[pid], used[pid] = int(fields[1]), (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def mine(pid: int) -> bool:
        return pid == os.getpid() or (pid in parents and mine(parents[pid]))

    return {pid: cpu for pid, cpu in used.items() if mine(pid)}


def _draw(rows: int, width: int) -> tuple[Any, Any]:
    """Draw numbers of which ten decide who is positive."""
    rng = np.random.default_rng(0)
    x = rng.gamma(2, 1, (rows, width)).round(3)
    drive = x[:, 0] - x[:, 1] * (x[:, 4] > 2) + np.minimum(x[:, 2], x[:, 3]) + 0.3 * x[:, 5:10].sum(1)
    drive += rng.gumbel(0, 1, rows)
    return x, (drive > np.quantile(drive, 1 - POSITIVES)).astype(np.float64)


def _write(folder: Path, x: Any, label: Any) -> None:
    """Write a training set; every fifth row decides when to stop."""
    rows = len(x)
    order = np.random.default_rng(1).permutation(rows)
    for number, part in enumerate(np.array_split(np.arange(rows), FILES)):
        numbers = pa.ListArray.from_arrays(
            pa.array(np.arange(len(part) + 1, dtype=np.int32) * x.shape[1]), pa.array(x[part].ravel())
        )
        table = {
            "x": numbers, "target": label[part], "weight": np.ones(len(part)), "valid": part % 5 == 0,
            "row_hash": order[part],
        }  # fmt: skip
        pq.write_table(pa.table(table), folder / f"{number}.parquet")


if __name__ == "__main__":
    main()
