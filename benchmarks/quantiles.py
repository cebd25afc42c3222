"""What quantiles cost that depend on the rows alone: the package's beside Spark's two own functions.

    python -m benchmarks.quantiles --rows 40000,200000,2000000

101 quantiles of nine columns, as a quantile grid of nine base models needs them: the median of ``--repeats`` times
each, taken in turn, and its ratio to ``approxQuantile``, whose answers depend on which partition ends first.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from remedi_spark.columns import ROW_HASH
from remedi_spark.config.spark import SparkConfig
from remedi_spark.spark.quantiles import quantiles
from remedi_spark.spark.session import get_session

if TYPE_CHECKING:
    from collections.abc import Callable

COLUMNS = [f"m{i}" for i in range(9)]
POINTS = [i / 100 for i in range(101)]


def main() -> None:
    """Print a line for each number of rows."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", default="40000,200000")
    options.add_argument("--repeats", type=int, default=3)
    given = options.parse_args()
    spark = get_session(SparkConfig(master="local[2]", driver_memory="2g", shuffle_partitions=2))
    lines = []
    for rows in map(int, given.rows.split(",")):
        drawn = [F.rand(seed).alias(column) for seed, column in enumerate(COLUMNS)]
        frame = spark.range(rows).select(F.xxhash64("id").alias(ROW_HASH), *drawn).repartition(8).cache()
        frame.count()
        ways: dict[str, Callable[[], object]] = {
            "approxQuantile": lambda frame=frame: frame.approxQuantile(COLUMNS, POINTS, 0.005),
            "quantiles": lambda frame=frame, rows=rows: quantiles(frame, COLUMNS, POINTS, rows),
            "percentile": lambda frame=frame: frame.agg(*[F.percentile(c, POINTS) for c in COLUMNS]).collect(),
        }  # fmt: skip
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for repeat in range(given.repeats + 1):
            for name, way in ways.items():
                start = time.monotonic()
                way()
                if repeat:  # the first one warms up
                    seconds[name].append(time.monotonic() - start)
        middle = {name: statistics.median(found) for name, found in seconds.items()}
        shown = [f"{name} {found:.2f} s ({found / middle['approxQuantile']:.1f})" for name, found in middle.items()]
        lines.append(f"{rows} rows: {', '.join(shown)}")
        frame.unpersist()
    print("\n".join(lines))


if __name__ == "__main__":
    main()
