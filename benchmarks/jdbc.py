"""How long a hand-over to PostgreSQL takes: the first, its repetition, and the same snapshot after a new scoring run.

    REMEDI_JDBC_USER=… REMEDI_JDBC_PASSWORD=… \\
      python benchmarks/jdbc.py --jdbc jdbc:postgresql://127.0.0.1:5432/postgres --rows 2000000

Scores are drawn, a tenth of the rows with one reason each; a later run has the same scores under its own ``run_id``.
Each line is one ``remedi export`` by the clock, with the start of Spark. The tables ``remedi_benchmark*`` stay there.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from remedi_spark.config.spark import SparkConfig
from remedi_spark.scoring.batch import REASONS, published
from remedi_spark.spark.session import get_session

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def main() -> None:
    """Export three times, and print what each took."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--jdbc", required=True, help="jdbc:postgresql://HOST:PORT/DATABASE")
    options.add_argument("--rows", type=int, default=2_000_000)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        first, second = (str(Path(folder, name)) for name in ("first", "second"))
        spark = get_session(SparkConfig())
        for name, run in ((first, "one"), (second, "two")):
            _scores(spark, given.rows, run).write.format("delta").save(name)
        spark.stop()
        for what, table in (("the first", first), ("repeated", first), ("a later run", second)):
            seconds = _export(table, given.jdbc)
            print(f"{what:<12}{given.rows:>12,} rows {seconds:>7.1f} s {given.rows / seconds:>10,.0f} rows a second")


def _scores(spark: SparkSession, rows: int, run: str) -> DataFrame:
    reason = F.struct(
        F.lit("web_visits_28d").alias("feature"), F.lit("3").alias("value"), F.lit(0.0125).alias("contribution"),
        F.lit("3 visits to the website in the last 28 days, usual: 0").alias("text"),
    )  # fmt: skip
    frame = spark.range(rows).select(
        F.concat(F.lit("owner-"), F.col("id")).alias("owner_id"),
        F.lit("2026-01-31").cast("date").alias("snapshot_date"),
        ((rows - F.col("id")) / F.lit(rows + 1.0)).alias("score"),
        (F.col("id") + 1).alias("rank"),
        F.lit(rows).alias("rows"),
        (F.col("id") < rows // 10).alias("in_top_k"),
        F.when(F.col("id") < rows // 10, F.array(reason)).cast(REASONS).alias("reasons"),
    )  # fmt: skip
    return published(frame, "m1", datetime.now(UTC).replace(microsecond=0), run)


def _export(table: str, url: str) -> float:
    started = time.monotonic()
    remedi = str(Path(sys.executable).with_name("remedi"))
    subprocess.run([remedi, "export", "--scores", table, "--jdbc", url, "--table", "remedi_benchmark"], check=True)
    return time.monotonic() - started


if __name__ == "__main__":
    main()
