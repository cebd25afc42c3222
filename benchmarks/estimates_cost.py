"""What estimates add to a scoring run: processor time of each part on one task's rows, beside that of the scores.

    python benchmarks/estimates_cost.py --model model --table owners.parquet --rows 50000

Rows of the table are repeated up to ``--rows``; every drifted feature has a drift that moves all of its rows. One
thread, as a task has. Processor time, so that what else the machine does counts for nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import torch
import typer

from remedi_spark.config.monitoring import MonitoringConfig
from remedi_spark.maths.score_grid import count_on_grid
from remedi_spark.scoring.bundle import load
from remedi_spark.scoring.monitoring.costs import FEATURES, SAMPLE, cost_of
from remedi_spark.scoring.monitoring.estimates import estimated, holdout_of


def main(
    model: Annotated[Path, typer.Option(help="A bundle.")],
    table: Annotated[Path, typer.Option(help="Parquet file with its features.")],
    rows: int = 50_000,
    batch: int = 10_000,
    repeats: int = 5,
) -> None:
    """Print seconds of the scores, of what estimates count and compute, and of the costs of drift."""
    torch.set_num_threads(1)
    bundle, frame = load(model), pd.read_parquet(table)
    canonical = bundle.contract.canonical(frame.iloc[np.resize(np.arange(len(frame)), rows)])
    parts = [canonical.iloc[start : start + batch] for start in range(0, rows, batch)]
    scores = [bundle.score(one) for one in parts]
    counts = np.sum([count_on_grid(one) for one in scores], axis=0)
    k, config = round(0.07 * rows), MonitoringConfig()
    holdout = holdout_of(bundle.parts)
    drifted = list(range(min(FEATURES, len(bundle.contract.features))))
    night = canonical.iloc[:SAMPLE].assign(**{f"f{i}": _moved(canonical[f"f{i}"].iloc[:SAMPLE]) for i in drifted})
    share = {
        "scores": _seconds(lambda: [bundle.score(one) for one in parts], repeats),
        "counts on the grid": _seconds(lambda: [count_on_grid(one) for one in scores], repeats),
        "estimate (once a run)": _seconds(lambda: list(estimated(counts, k, holdout, "x", None, config)), repeats),
        "drift costs (once, if drifted)": _seconds(lambda: cost_of(bundle, night, drifted, 0.07), repeats),
    }
    for name, seconds in share.items():
        typer.echo(f"{name:<32}{seconds:>9.3f} s{seconds / share['scores']:>9.2%}")


def _moved(values: pd.Series[Any]) -> pd.Series[Any]:
    return values * 100 + 7 if values.dtype == float else values.where(values.isna(), "of another source")


def _seconds(work: Callable[[], object], repeats: int) -> float:
    """Return the least processor time of some repetitions."""
    found = []
    for _ in range(repeats):
        started = time.process_time()
        work()
        found.append(time.process_time() - started)
    return min(found)


if __name__ == "__main__":
    typer.run(main)
