"""Compare combiners and students over the tables of a development run, with intervals over tables.

    python benchmarks/development.py --data DIR --sets coil,bank --seeds 1,2 > run/development.jsonl
    python benchmarks/development_table.py run/development.jsonl

AP in per cent of that of the mean of the members, by table the mean over its seeds; 95 % intervals by a bootstrap of
whole tables. ``worst`` is the lowest table.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

SHOWN = ("stack", "selection", "fuser", "distilled", "student")
AGAINST = {"mean": SHOWN, "selection": ("fuser", "distilled", "student"), "fuser": ("distilled", "student")}
RESAMPLES = 10_000


def main() -> None:
    """Print a Markdown table for each model that others are compared with."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("lines", type=Path, help="what development.py printed")
    rows = pd.read_json(options.parse_args().lines, lines=True)
    print(f"{rows['set'].nunique()} tables, seeds {sorted(rows['seed'].unique().tolist())}\n")
    for reference, shown in AGAINST.items():
        print(f"| against {reference} | AP | 95 % | median | worst | at | AUC | log-loss |")
        print("|---" * 8 + "|")
        for what in shown:
            print(_line(rows, what, reference))
        print()
    if "ships" in rows:
        print(rows.dropna(subset=["ships"])["ships"].value_counts().to_dict())


def _line(rows: pd.DataFrame, what: str, reference: str) -> str:
    keys = ["set", "seed"]
    pairs = rows[rows["what"] == what].merge(rows[rows["what"] == reference], on=keys, suffixes=("", "_than"))
    pairs["gained"] = 100 * (pairs["ap"] / pairs["ap_than"] - 1)
    pairs["auc_gained"], pairs["loss"] = (
        pairs["auc"] - pairs["auc_than"],
        100 * (pairs["log_loss"] / pairs["log_loss_than"] - 1),
    )
    by_set = pairs.groupby("set")[["gained", "auc_gained", "loss"]].mean()
    gained = by_set["gained"].to_numpy()
    drawn = np.random.default_rng(0).choice(gained, (RESAMPLES, len(gained))).mean(1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    cells = [
        what, f"{gained.mean():+.1f}", f"{low:+.1f} to {high:+.1f}", f"{np.median(gained):+.1f}",
        f"{gained.min():+.1f}", by_set["gained"].idxmin(), f"{by_set['auc_gained'].mean():+.4f}",
        f"{by_set['loss'].mean():+.1f}",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
