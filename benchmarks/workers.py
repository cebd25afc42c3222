"""What a second worker saves: the same training and scoring on a standalone cluster of one worker, then of two.

    python -m benchmarks.workers --rows 800000 --out run/workers

Master and workers run on this machine, which needs two idle cores: each worker, its executor and its Python are kept to
one core of their own, as if they were machines of one core; the driver takes what is left. What is submitted is the
packaged wheel, as docs/operations.md tells to. Times are those of the stages, without the start of the application. At
the end: seconds by stage on one and on two workers, their ratio, and how far the scores differ.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tests.cluster.standalone import Standalone, packaged_environment

WIDTH = 20
FILES = 16
SETTINGS = {
    "spark.python.daemon.module": "remedi_spark.spark.daemon",
    "spark.sql.execution.pyspark.udf.simplifiedTraceback.enabled": "false",
    "spark.sql.codegen.hugeMethodLimit": "8000",
    "spark.sql.shuffle.partitions": "4",
}


def main() -> None:
    """Run it on one and on two workers, and print a table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, default=800_000)
    options.add_argument("--memory-mb", type=int, default=4000, help="heap of each executor")
    options.add_argument("--out", type=Path, required=True)
    given = options.parse_args()
    given.out.mkdir(parents=True)
    table = given.out / "owners.parquet"
    table.mkdir()
    for number, part in _owners(given.rows).groupby(np.arange(given.rows) * FILES // given.rows):
        part.to_parquet(table / f"{number}.parquet", index=False)
    python, archive = packaged_environment(given.out)
    found = []
    for workers in (1, 2):
        folder = given.out / f"workers{workers}"
        folder.mkdir()
        with _cluster(folder, workers, given.memory_mb) as cluster:
            job = cluster.submit(
                python, archive, str(Path(__file__).with_name("workers_job.py")), str(table), str(folder)
            )
            out, err = job.communicate()
        (folder / "job.log").write_text(err)
        if job.returncode:
            raise SystemExit(f"exit code {job.returncode}: see {folder / 'job.log'}")
        found.append(json.loads(out.strip().splitlines()[-1]))
    _warn_of(*found)
    one, two = (_scores(given.out / f"workers{workers}") for workers in (1, 2))
    print(f"scores differ by at most {np.abs(one - two).max():.1e}")


def _cluster(folder: Path, workers: int, memory_mb: int) -> Standalone:
    return Standalone(folder, workers, memory_mb=memory_mb, java="-Xss4m", settings=SETTINGS, pinned=True)


def _owners(rows: int) -> pd.DataFrame:
    """Draw numbers and two categories, of which a few decide who buys: 2 in 100."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.gamma(2, 1, (rows, WIDTH)).round(3), columns=[f"x{i}" for i in range(WIDTH)])
    frame["city"] = rng.choice([f"city{i}" for i in range(50)], rows)
    frame["brand"] = rng.choice(list("abcdef"), rows)
    drive = frame["x0"] - frame["x1"] * (frame["brand"] == "a") + 0.5 * np.minimum(frame["x2"], frame["x3"])
    drive += rng.gumbel(0, 1, rows)
    frame["bought"] = (drive > np.quantile(drive, 0.98)).astype(int)
    frame.insert(0, "owner", np.arange(rows))
    return frame


def _warn_of(one: dict[str, float], two: dict[str, float]) -> None:
    print(f"{'':<16}{'one worker':>12}{'two':>10}{'ratio':>8}")
    for name, seconds in one.items():
        print(f"{name:<16}{seconds:>10.1f} s{two[name]:>8.1f} s{seconds / two[name]:>8.2f}")


def _scores(folder: Path) -> Any:
    return pd.read_parquet(folder / "scores.parquet").sort_values("owner_id")["score"].to_numpy()


if __name__ == "__main__":
    main()
