"""Compare combiners and students over the tables of a development run, with intervals over tables.

    python benchmarks/development.py --data DIR --sets coil,bank --seeds 1,2 > run/development.jsonl
    python benchmarks/development_table.py run/development.jsonl

AP in per cent of that of the mean of the members, by table the mean over its seeds; 95 % intervals by a bootstrap of
whole tables. ``worst`` is the lowest table. Then every student that was distilled (``--student``): the share of the
teacher's ranking that it keeps, judged without labels, and its AP in per cent of the fuser's.
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
    print(_students(rows))
    if "ships" in rows:
        print(rows.dropna(subset=["ships"])["ships"].value_counts().to_dict())


def _students(rows: pd.DataFrame) -> str:
    """Return a line a table: what each student keeps, and its AP; then means, intervals and processor seconds."""
    fuser = rows[rows["what"] == "fuser"].set_index(["set", "seed"])["ap"]
    students = rows.dropna(subset=["kept"]).set_index(["set", "seed"])
    students["gained"] = 100 * (students["ap"] / fuser.reindex(students.index) - 1)
    names = list(dict.fromkeys(students["what"]))
    kept, gained = (students.pivot_table(index="set", columns="what", values=v)[names] for v in ("kept", "gained"))
    drawn = np.random.default_rng(0).integers(0, len(gained), (RESAMPLES, len(gained)))
    low, high = np.quantile(gained.to_numpy()[drawn].mean(1), [0.025, 0.975], axis=0)
    lines = [[one, *[f"{x:.4f}" for x in kept.loc[one]], *[f"{x:+.1f}" for x in gained.loc[one]]] for one in kept.index]
    lines += [
        ["mean", *[f"{x:.4f}" for x in kept.mean()], *[f"{x:+.1f}" for x in gained.mean()]],
        ["95 % over tables", *[""] * len(names), *[f"{a:+.1f} to {b:+.1f}" for a, b in zip(low, high, strict=True)]],
        ["worst", *[f"{x:.4f}" for x in kept.min()], *[f"{x:+.1f}" for x in gained.min()]],
        ["processor seconds", *[f"{students[students['what'] == one]['seconds'].mean():.0f}" for one in names],
         *[""] * len(names)],
    ]  # fmt: skip
    head = ["table", *[f"{one}: kept" for one in names], *[f"{one}: AP" for one in names]]
    return "\n".join(f"| {' | '.join(one)} |" for one in [head, ["---"] * len(head), *lines]) + "\n"


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
