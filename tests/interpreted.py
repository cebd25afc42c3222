"""Spark settings for tests: compiling code for a query takes longer than interpreting it for a thousand rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

INTERPRETED = {"spark.sql.codegen.wholeStage": "false", "spark.sql.codegen.factoryMode": "NO_CODEGEN"}
QUICK_JAVA = "-XX:TieredStopAtLevel=1"
SMALL = {
    **INTERPRETED,
    "spark.sql.adaptive.enabled": "false",
    "spark.databricks.delta.writeChecksumFile.enabled": "false",
}
"""The session of the tests: planning anew after a shuffle, and a checksum of each commit, cost more than the rows."""
SUBMITTED = {
    **INTERPRETED,
    "spark.executor.extraJavaOptions": QUICK_JAVA,
    "spark.python.daemon.module": "remedi_spark.spark.daemon",
    "spark.sql.execution.pyspark.udf.simplifiedTraceback.enabled": "false",
}
"""The same for what tests launch by spark-submit, as the local session has it anyway."""


@contextmanager
def compiled(spark: SparkSession) -> Iterator[None]:
    """Compile queries, as outside of tests: for the few that have many rows."""
    for name in INTERPRETED:
        spark.conf.unset(name)
    try:
        yield
    finally:
        for name, value in INTERPRETED.items():
            spark.conf.set(name, value)
