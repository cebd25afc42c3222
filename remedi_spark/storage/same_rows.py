"""Whether two tables hold the same rows, in whatever order and files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from remedi_spark.spark.names import column

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def same_rows(left: DataFrame, right: DataFrame) -> bool:
    """Whether both have the same columns, in their order, and the same rows as often, to the last bit."""
    return left.dtypes == right.dtypes and left.count() == right.count() and _content(left) == _content(right)


def _content(frame: DataFrame) -> Any:
    """Return how many rows there are and two sums of their hashes: 128 bits."""
    columns = [column(name) for name in frame.columns]
    # A null leaves a hash as it was: which columns are null has to be hashed too.
    whole = [F.array(*(one.isNull() for one in columns)), *columns]
    hashes = [F.xxhash64(F.lit(seed), *whole).cast("decimal(38,0)") for seed in (0, 1)]
    return frame.agg(F.count("*"), *map(F.sum, hashes)).collect()[0]
