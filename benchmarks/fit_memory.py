"""How many bytes of memory a fit takes for each number (rows x inputs), by family, outside of Spark.

    python -m benchmarks.fit_memory --rows 40000 --width 1000

Each family is fitted in a process of its own, with one thread and few rounds: memory follows from the rows. Printed is
what the fit adds at most to what there was when its table was made, and that with the table itself, of 8 bytes a
number. ``spark.task_memory`` counts on it (``BYTES_A_NUMBER`` in ``remedi_spark/config/spark.py``).
"""

from __future__ import annotations

import argparse
import multiprocessing
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa

from remedi_spark.columns import ROW_HASH
from remedi_spark.config.chain import CatBoostConfig, LightGBMConfig, MLPConfig, ModelConfig, XGBoostConfig
from remedi_spark.models.contract import ROW_WEIGHT, TARGET, VALID, TrainingSet, X
from remedi_spark.models.registry import learner_for
from remedi_spark.models.table_examples import TableExamples
from remedi_spark.samples.arrays import lists
from remedi_spark.samples.layout import Layout, Slot

FAMILIES: dict[str, ModelConfig] = {
    "lightgbm": LightGBMConfig(num_iterations=20), "xgboost": XGBoostConfig(num_iterations=20),
    "catboost": CatBoostConfig(num_iterations=20), "mlp": MLPConfig(epochs=1),
}  # fmt: skip


def main() -> None:
    """Measure every family, and print a line each."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, default=40_000)
    options.add_argument("--width", type=int, default=1_000)
    given = options.parse_args()
    print("| family | GB beside the table | bytes a number, the table included |\n|---|---|---|")
    for name in FAMILIES:
        with multiprocessing.get_context("spawn").Pool(1) as alone:
            added = alone.apply(_added, (name, given.rows, given.width))
        print(f"| {name} | {added / 1e9:.2f} | {8 + added / (given.rows * given.width):.0f} |", flush=True)


def _added(name: str, rows: int, width: int) -> int:
    """Return the bytes that a fit adds at most to the memory of this process."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, width))
    bought = x[:, 0] + rng.normal(size=rows) > 2
    table = pa.table({
        X: lists(x), TARGET: bought.astype(float), ROW_WEIGHT: np.ones(rows), VALID: rng.random(rows) < 0.15,
        ROW_HASH: np.arange(rows),
    })  # fmt: skip
    del x
    layout = Layout(tuple(Slot(i, "number") for i in range(width)))
    data = TrainingSet(
        TableExamples(table), layout, "logistic", float(bought.mean()), rows, 1, 1, positives=int(bought.sum())
    )
    before, most, over = _held(), 0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not over.wait(0.02):
            most = max(most, _held())

    watcher = threading.Thread(target=watch)
    watcher.start()
    learner_for(FAMILIES[name]).fit(data)
    over.set()
    watcher.join()
    return most - before


def _held() -> int:
    return 1024 * int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0])


if __name__ == "__main__":
    main()
