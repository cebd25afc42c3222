"""Owner attributes: joined as they are, or as of the snapshot where a time is given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as F

from remedi_spark.columns import OWNER, SNAPSHOT
from remedi_spark.errors import InputError
from remedi_spark.features.dictionary import Entry
from remedi_spark.features.phrases import plain
from remedi_spark.features.sources import DAY, KNOWN

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from remedi_spark.config.features import Attributes
    from remedi_spark.features.snapshots import Grid


def join_attributes(rows: DataFrame, attributes: DataFrame, config: Attributes, grid: Grid, where: str) -> DataFrame:
    """Add the attribute columns to rows of (owner, snapshot); null where nothing is known.

    With a time, the row with the latest time among those with time ≤ t and arrival ≤ t is taken. Static attributes
    have no time at all: it is up to the user that they were true at the earliest snapshot.
    """
    if config.time is not None:
        return rows.join(_as_of(attributes, config, grid), [OWNER, SNAPSHOT], "left")
    repeated = attributes.groupBy(OWNER).count().filter("count > 1").first()
    if repeated is not None:
        raise InputError(
            f"{where}.key: owner {repeated[0]!r} has {repeated[1]} rows, expected one;"
            " give 'time' if rows hold from a time on"
        )
    return rows.join(attributes, OWNER, "left")


def attribute_entries(name: str, config: Attributes) -> list[Entry]:
    """Return the dictionary lines of an attribute table."""
    when = "as of the snapshot" if config.time is not None else "static, of unknown date"
    return [
        Entry(column, f"attribute {column}, {when}", name, None, column, "unknown for this owner", plain(column))
        for column in config.columns
    ]


def _as_of(attributes: DataFrame, config: Attributes, grid: Grid) -> DataFrame:
    """Return one row for every owner and snapshot at which something was known."""
    # Greatest by time, then by arrival, then by value: ties must not depend on the order of the rows.
    record = F.struct(DAY, KNOWN, *config.columns)
    known = attributes.groupBy(OWNER, KNOWN).agg(F.max(record).alias("record"))
    history = Window.partitionBy(OWNER).orderBy(KNOWN)
    so_far = history.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    intervals = known.select(
        OWNER,
        KNOWN,
        F.max("record").over(so_far).alias("record"),
        F.coalesce(F.date_sub(F.lead(KNOWN).over(history), 1), F.to_date(F.lit("9999-12-31"))).alias("until"),
    )
    return grid.explode(intervals, F.col(KNOWN), F.col("until")).select(
        OWNER, SNAPSHOT, *(F.col("record")[name].alias(name) for name in config.columns)
    )
