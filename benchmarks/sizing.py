"""What a run costs as owners grow: CPU seconds and bytes of each stage, measured at two sizes and drawn out in a line.

    python benchmarks/sizing.py --owners 5000 20000 --out run/sizing

Each size is a simulated world (two years, a snapshot every 28 days, 0.5 % buyers) through conf/owners.yaml, one process
a stage. Printed for each stage: seconds by the clock and of all processes' CPU, bytes of the tables it leaves, the
largest process; and the line through both sizes (a fixed part and one that grows with owners), with what it gives for
``--predict`` owners. A line through two points is a guide to how many cores to ask for, not a measurement.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from remedi_spark.flow import verbs

ROOT = Path(__file__).resolve().parents[1]
STAGES = list(verbs())
_PR_SET_CHILD_SUBREAPER = 36
"""Of Linux's prctl."""
REMEDI = str(Path(sys.executable).with_name("remedi"))


@dataclass(frozen=True)
class Cost:
    """What a stage took."""

    seconds: float
    cpu: float
    bytes: int
    peak_mb: float


def main() -> None:
    """Measure every size, and print the tables."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--owners", type=int, nargs=2, default=[5000, 20000])
    options.add_argument("--predict", type=int, nargs="*", default=[10_000_000, 100_000_000])
    options.add_argument("--max-rows", type=int, help="rows that are learned from; default: all, so that costs grow")
    options.add_argument("--out", type=Path, required=True)
    given = options.parse_args()
    # The JVM outlives the command that started it: whoever is left alone comes to this process, to be counted.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    found = {owners: _measure(owners, given.out / str(owners), given.max_rows) for owners in given.owners}
    for owners, costs in found.items():
        rows = _rows(given.out / str(owners))
        print(f"\n{owners:,} owners: {rows['owner_features']:,} rows of features, {rows['scores']:,} of scores")
        print(f"{'':<14}{'clock':>10}{'CPU':>10}{'tables':>12}{'process':>11}")
        for stage, cost in costs.items():
            print(
                f"{stage:<14}{cost.seconds:>8.0f} s{cost.cpu:>8.0f} s{cost.bytes / 1e6:>9.1f} MB{cost.peak_mb:>8.0f} MB"
            )
    _tell_line(found, given.predict)


def _measure(owners: int, folder: Path, max_rows: int | None) -> dict[str, Cost]:
    """Draw a world and take it through the chain, in a folder of its own."""
    folder.mkdir(parents=True)
    _run(folder, ["simulate", "--owners", str(owners), "--out", "run/world"])
    options = ["--config", str(ROOT / "conf" / "owners.yaml"), "--set", f"base_models.max_rows={max_rows or 'null'}"]
    costs = {}
    for stage in STAGES:
        before = _size(folder / "run" / "owners")
        seconds, cpu, peak = _run(folder, [stage, *options])
        costs[stage] = Cost(seconds, cpu, _size(folder / "run" / "owners") - before, peak)
        print(f"{owners:,} owners: {stage} {seconds:.0f} s", flush=True)
    return costs


def _run(folder: Path, words: Sequence[str]) -> tuple[float, float, float]:
    """Run a verb; return its seconds by the clock, of CPU with all it started, and its largest process in MB."""
    started, used, peak, codes = time.monotonic(), 0.0, 0.0, {}
    with (folder / f"{words[0]}.log").open("w") as log:
        run = subprocess.Popen([REMEDI, *words], cwd=folder, stdout=log, stderr=log)
        with suppress(ChildProcessError):  # until none is left
            while True:
                process, status, usage = os.wait4(-1, 0)
                codes[process] = os.waitstatus_to_exitcode(status)
                used += usage.ru_utime + usage.ru_stime
                peak = max(peak, usage.ru_maxrss / 1000)
    run.returncode = codes[run.pid]
    if run.returncode:
        raise SystemExit(f"exit code {run.returncode}: see {log.name}")
    return time.monotonic() - started, used, peak


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _rows(folder: Path) -> dict[str, int]:
    from deltalake import DeltaTable

    tables = {name: DeltaTable(folder / "run" / "owners" / name) for name in ("owner_features", "scores")}
    return {name: table.to_pyarrow_dataset().count_rows() for name, table in tables.items()}


def _tell_line(found: dict[int, dict[str, Cost]], predicted: Sequence[int]) -> None:
    (few, small), (many, large) = found.items()
    print(f"\n{'':<14}{'fixed':>10}{'a million':>14}" + "".join(f"{f'{owners:,}':>18}" for owners in predicted))
    for stage in STAGES:
        for what, unit, scale in (("cpu", "CPU h", 3600.0), ("bytes", "GB", 1e9)):
            low, high = getattr(small[stage], what), getattr(large[stage], what)
            slope = max(high - low, 0) / (many - few)
            fixed = max(low - slope * few, 0)
            cells = "".join(f"{(fixed + slope * owners) / scale:>12.1f} {unit:<5}" for owners in predicted)
            name = stage if what == "cpu" else ""
            print(f"{name:<14}{fixed / scale:>10.3f}{slope * 1e6 / scale:>8.2f} {unit:<5}{cells}")


if __name__ == "__main__":
    main()
