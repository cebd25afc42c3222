"""What a default training and scoring cost as rows grow, and how good the list is beside the best possible.

    python -m benchmarks.scale --rows 100000 800000 --peer --out run/scale

Each size is a planted table (:mod:`benchmarks.scale_table`) through `remedi train` and `remedi score` as people run
them, one process each, without any setting but those of ``--set``. Scored is another table of as many rows, of other
owners. Printed: seconds by the clock, of CPU with all processes, the most memory that all processes held together
(each page once), bytes written to disks; seconds by stage; AP and recall in the first 7.5 % as shares of what a ranking
by the true probability has. Both are computed from the probabilities, not from drawn labels, so that they have no
noise of the test rows. ``--peer`` fits LightGBM alone on the same rows, on all cores. With several sizes, the exponent
of the cost between the first and the last.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import math
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.scale_table import LEVELS, TRUTH, write_table

BUDGET = 0.075
REMEDI = [sys.executable, "-m", "remedi_spark.cli"]
_PR_SET_CHILD_SUBREAPER = 36
"""Of Linux's prctl."""
_STAGE = re.compile(r"\] (\S+) +done in ([0-9.]+) s")
_MANY_LEVELS = 500
_USER_TIME, _STARTED = 11, 19
"""Places in /proc/<pid>/stat, counted after the name: time in user mode, which the kernel's follows; start time."""
_BLOCK = 512
"""Bytes in which the system counts what is written."""


@dataclass(frozen=True)
class Cost:
    """What a command took; ``peak`` and ``written`` in GB."""

    seconds: float
    cpu: float
    peak: float
    written: float


def main() -> None:
    """Measure every size, and print the tables."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, nargs="+", default=[100_000])
    options.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting, repeatable")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--peer", action="store_true", help="LightGBM alone on the same rows")
    options.add_argument("--out", type=Path, required=True)
    given = options.parse_args()
    # The JVM outlives the command that started it: whoever is left alone comes to this process, to be counted.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    costs: dict[int, dict[str, Cost]] = {}
    for rows in given.rows:
        costs[rows] = _measure(rows, given.seed, given.out / str(rows), given.set, given.peer)
    if len(costs) > 1:
        few, many = min(costs), max(costs)
        for what, one in costs[few].items():
            by_clock, by_cpu = (
                math.log(getattr(costs[many][what], of) / getattr(one, of)) / math.log(many / few)
                for of in ("seconds", "cpu")
            )
            print(f"{what}: exponent {by_clock:.2f} by the clock, {by_cpu:.2f} of CPU, from {few:,} to {many:,} rows")


def _measure(rows: int, seed: int, folder: Path, settings: list[str], peer: bool) -> dict[str, Cost]:
    table, _ = write_table(folder / "train", rows, seed)
    fresh, truth = write_table(folder / "fresh", rows, seed + 1000)
    model, scores = folder / "model", folder / "scores"
    for old in (model, scores):
        shutil.rmtree(old, ignore_errors=True)
    sets = [word for one in settings for word in ("--set", one)]
    train = ["train", "--table", str(table), "--label", "bought", "--id", "owner", "--model", str(model), *sets]
    costs = {"train": run_measured([*REMEDI, *train], folder / "train.log")}
    score = ["score", "--model", str(model), "--table", str(fresh), "--out", str(scores)]
    costs["score"] = run_measured([*REMEDI, *score], folder / "score.log")
    found = pd.read_parquet(scores).rename(columns={"owner_id": "owner"})[["owner", "score"]]
    shares = {"remedi": _shares(found.merge(pd.read_parquet(truth), on="owner"))}
    if peer:
        costs["peer"], shares["LightGBM alone"] = _peer(table, fresh, truth)
    print(f"\n{rows:,} rows x 40, seed {seed}, {' '.join(settings) or 'no settings'}")
    print(f"{'':<8}{'clock':>10}{'CPU':>10}{'memory':>10}{'written':>10}")
    for what, cost in costs.items():
        print(f"{what:<8}{cost.seconds:>8.0f} s{cost.cpu:>8.0f} s{cost.peak:>7.1f} GB{cost.written:>7.1f} GB")
    stages = _STAGE.findall((folder / "train.log").read_text())
    print("stages: " + ", ".join(f"{name} {float(seconds):.0f} s" for name, seconds in stages))
    for what, (ap, recall, mean) in shares.items():
        print(f"{what}: AP {ap:.4f} and recall {recall:.4f} of the best; mean score / base rate {mean:.3f}", flush=True)
    return costs


def _shares(rows: pd.DataFrame) -> tuple[float, float, float]:
    """Return AP and recall by ``score`` as shares of those by the true probability, and how the mean score compares."""
    scores, truth = rows["score"].to_numpy(), rows[TRUTH].to_numpy()
    ap, recall = _measures(scores, truth)
    best_ap, best_recall = _measures(truth, truth)
    return ap / best_ap, recall / best_recall, float(scores.mean() / truth.mean())


def _measures(scores: Any, truth: Any) -> tuple[float, float]:
    """Return AP, to first order, and recall in the budget that labels drawn from ``truth`` would have."""
    p = truth[np.argsort(-scores, kind="stable")]
    total, found = p.sum(), np.cumsum(p)
    precision = (found - p + 1) / np.arange(1, len(p) + 1)  # at a positive: itself, and those expected above it
    return float((p * precision).sum() / total), float(found[int(BUDGET * len(p)) - 1] / total)


def run_measured(command: list[str], log: Path) -> Cost:
    """Run a command; return its cost with all processes that it started.

    What has been seen so far is in ``<log>.cost.json`` all the while: it is there also when this process is stopped.
    """
    started, written, codes = time.monotonic(), 0, {}
    with log.open("w") as errors, _Watch(log.with_name(f"{log.name}.cost.json")) as watch:
        run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors)
        with suppress(ChildProcessError):  # until none is left
            while True:
                process, status, usage = os.wait4(-1, 0)
                codes[process] = os.waitstatus_to_exitcode(status)
                written += usage.ru_oublock * _BLOCK
    run.returncode = codes[run.pid]
    if run.returncode:
        raise SystemExit(f"exit code {run.returncode}: see {log}")
    return Cost(time.monotonic() - started, watch.cpu, watch.peak / 1e9, written / 1e9)


class _Watch:
    """Looks twice a second at memory and CPU time of all processes that descend from this one, itself left out.

    The system's own account of CPU time leaves out processes whose parent ignores that they end, as the daemon of
    Spark's Python workers does. What it has seen stands in ``into`` after each look.
    """

    def __init__(self, into: Path) -> None:
        self._into = into

    def __enter__(self) -> _Watch:
        self.peak, self._end, self._begun = 0, threading.Event(), time.monotonic()
        self._used: dict[tuple[int, str], float] = {}
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    @property
    def cpu(self) -> float:
        """Seconds that all of them have computed, each but for its last half second."""
        return sum(self._used.values())

    def _look(self) -> None:
        while not self._end.wait(0.5):
            processes = _descendants(os.getpid())
            self.peak = max(self.peak, sum(map(_memory, processes)))
            for process in processes:
                with suppress(OSError, IndexError):
                    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
                    ticks = int(fields[_USER_TIME]) + int(fields[_USER_TIME + 1])
                    self._used[process, fields[_STARTED]] = ticks / os.sysconf("SC_CLK_TCK")
            self._keep()

    def _keep(self) -> None:
        """Replace the file in one step, so that it is whole whenever this process ends."""
        seen = {"seconds": time.monotonic() - self._begun, "cpu": self.cpu, "peak": self.peak / 1e9}
        part = self._into.with_name(f"{self._into.name}.part")
        part.write_text(json.dumps({name: round(value, 3) for name, value in seen.items()}))
        part.replace(self._into)


def _descendants(process: int) -> list[int]:
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents.setdefault(int(path.read_text().rsplit(")", 1)[1].split()[1]), []).append(int(path.parent.name))
    found, todo = [], list(parents.get(process, []))
    while todo:
        found.append(todo.pop())
        todo += parents.get(found[-1], [])
    return found


def _memory(process: int) -> int:
    """Return the bytes of a process, its share of those that it shares with others."""
    with suppress(OSError, IndexError):
        return 1024 * int(Path(f"/proc/{process}/smaps_rollup").read_text().split("\nPss:")[1].split()[0])
    return 0


def _peer(table: Path, fresh: Path, truth: Path) -> tuple[Cost, tuple[float, float, float]]:
    """Fit LightGBM on 85 % of the rows, stop by the others, score the fresh rows.

    Categories are its own kind, those of many levels numbers, as its documentation advises.
    """
    import lightgbm

    started, used = time.monotonic(), time.process_time()
    rows, others = (_as_lightgbm_reads(pd.read_parquet(one)) for one in (table, fresh))
    features = [name for name in rows.columns if name not in ("owner", "bought")]
    check = np.random.default_rng(0).random(len(rows)) < 0.15
    learn = lightgbm.Dataset(rows.loc[~check, features], rows.loc[~check, "bought"])
    valid = lightgbm.Dataset(rows.loc[check, features], rows.loc[check, "bought"], reference=learn)
    parameters = {"objective": "binary", "learning_rate": 0.05, "num_leaves": 31, "verbosity": -1, "cat_smooth": 100}
    stop = lightgbm.early_stopping(50, verbose=False)
    model = lightgbm.train(parameters, learn, 1000, valid_sets=[valid], callbacks=[stop])
    scores = np.asarray(model.predict(others[features]))
    cost = Cost(time.monotonic() - started, time.process_time() - used, math.nan, math.nan)
    found = pd.DataFrame({"owner": others["owner"], "score": scores}).merge(pd.read_parquet(truth), on="owner")
    return cost, _shares(found)


def _as_lightgbm_reads(rows: pd.DataFrame) -> pd.DataFrame:
    for i, of in enumerate(LEVELS):
        level = rows[f"c{i}"].str.split("-").str[1].astype(int)
        rows[f"c{i}"] = level.astype(pd.CategoricalDtype(range(of))) if of <= _MANY_LEVELS else level
    return rows


if __name__ == "__main__":
    main()
