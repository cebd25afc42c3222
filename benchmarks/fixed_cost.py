"""What a training costs that has hardly any rows: 1,000 owners, four base models, two folds, again and again.

    python -m benchmarks.fixed_cost --trainings 3

The first is that of a fresh session, the others those of one that is warm. Printed for each: seconds by the clock, and
of CPU of the JVM, of this process and of Spark's Python workers; Spark jobs, and commits to Delta tables.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from remedi_spark.cli import main as remedi
from remedi_spark.config.spark import SparkConfig
from remedi_spark.spark.session import get_session
from tests.cli.conftest import WITH_ADDITIVE, train_arguments, world

TICKS = os.sysconf("SC_CLK_TCK")
DAEMON = "-m\0remedi_spark.spark.daemon"


def main() -> None:
    """Train, and print a line a training."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--trainings", type=int, default=3)
    given = options.parse_args()
    spark = get_session(SparkConfig(master="local[2]", driver_memory="2g", shuffle_partitions=2))
    java = str(spark.sparkContext._jvm.java.lang.ProcessHandle.current().pid())  # type: ignore[union-attr]
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "owners.parquet"
        world().to_parquet(table, coerce_timestamps="us")
        for number in range(given.trainings):
            before = time.monotonic(), _cpu(java), time.process_time(), _workers(), _jobs(spark)
            try:
                remedi(train_arguments(table, Path(folder) / f"model{number}", *WITH_ADDITIVE))
            except SystemExit as end:
                if end.code:
                    raise
            after = time.monotonic(), _cpu(java), time.process_time(), _workers(), _jobs(spark)
            commits = len([*(Path(folder) / f"model{number}").rglob("_delta_log/*.json")])
            spent = [late - early for early, late in zip(before, after, strict=True)]
            lines.append(
                "training {}: {:.1f} s; CPU: JVM {:.1f}, driver {:.1f}, workers {:.1f} s; {:.0f} jobs, {}"
                " commits".format(number, *spent, commits)
            )
    print("\n".join(lines))


def _jobs(spark: Any) -> float:
    """Return how many jobs the session has run so far."""
    return float(spark.sparkContext._jsc.sc().dagScheduler().numTotalJobs())


def _workers() -> float:
    """Return the CPU seconds of Spark's Python daemon and of all workers that it has forked."""
    found = 0.0
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if DAEMON in (path / "cmdline").read_text():
                found += _cpu(path.name)
        except OSError:  # it has ended meanwhile
            continue
    return found


def _cpu(process: str) -> float:
    """Return the CPU seconds of a process and of its children that have ended."""
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:15])) / TICKS


if __name__ == "__main__":
    main()
