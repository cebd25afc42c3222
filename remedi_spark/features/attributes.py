"""Owner attributes: joined as they are, or as of the snapshot where a time is given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as F

from remedi_spark.columns import OWNER, SNAPSHOT
from remedi_spark.errors import InputError
from remedi_spark.features.dictionary import Entry
from remedi_spark.features.phrases import plain
from remedi_spark.features.snapshots import END_OF_TIME
from remedi_spark.features.sources import DAY, KNOWN, UNTIL
from remedi_spark.spark.names import quoted

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from remedi_spark.config.sources import Attributes
    from remedi_spark.features.snapshots import Grid


def join_attributes(rows: DataFrame, attributes: DataFrame, config: Attributes, grid: Grid, where: str) -> DataFrame:
    """Add the attribute columns to rows of (owner, snapshot); null where nothing is known.

    With a time, the row with the latest time among those with time ≤ t and arrival ≤ t is taken. Static attributes
    have no time at all: it is up to the user that they were true at the earliest snapshot.
    """
    if config.until is not None:
        return rows.join(_within(attributes, grid), [OWNER, SNAPSHOT], "left")
    if config.time is not None:
        return rows.join(_as_of(attributes, grid), [OWNER, SNAPSHOT], "left")
    repeated = attributes.groupBy(OWNER).count().filter("count > 1").count()
    if repeated:
        raise InputError(
            f"{where}.key: {repeated} owners have several rows, expected one an owner;"
            " give 'time' if rows hold from a time on"
        )
    return rows.join(attributes, OWNER, "left")


def attribute_names(tables: Mapping[str, Attributes], taken: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return by table what each of its columns is called as a feature: by its name, ``table.name`` where that is taken.

    ``taken`` are the names of everything else. Names that differ only in case are the same to Spark.
    """
    counted = Counter(column.casefold() for config in tables.values() for column in config.columns)
    counted.update(name.casefold() for name in taken)
    return {
        table: {column: column if counted[column.casefold()] == 1 else f"{table}.{column}" for column in config.columns}
        for table, config in tables.items()
    }


def attribute_entries(name: str, config: Attributes, names: Mapping[str, str]) -> list[Entry]:
    """Return the dictionary lines of an attribute table; ``names`` as :func:`attribute_names` gives them."""
    when = "as of the snapshot" if config.time is not None else "static, of unknown date"
    return [
        Entry(
            names[column], f"attribute {column}, {when}", name, None, column, "unknown for this owner",
            plain(names[column]),
        )
        for column in config.columns
    ]  # fmt: skip


def _within(attributes: DataFrame, grid: Grid) -> DataFrame:
    """Return one row for every owner and snapshot within an interval: of those that hold, the one that began last.

    Of several versions of a row, which begin on the same day, the one known last counts, with its own end.
    """
    names = [name for name in attributes.columns if name not in (OWNER, DAY, KNOWN, UNTIL)]
    record = F.struct(F.coalesce(UNTIL, _never()).alias("until"), *_numbered(names))
    versions = attributes.groupBy(OWNER, DAY, KNOWN).agg(F.max(record).alias("record"))
    replaced = F.lead(KNOWN).over(Window.partitionBy(OWNER, DAY).orderBy(KNOWN))
    last = F.date_sub(F.least(F.coalesce(replaced, _never()), F.col("record.until")), 1)
    held = grid.explode(versions.withColumn("last", last), F.col(KNOWN), F.col("last"))
    latest = held.groupBy(OWNER, SNAPSHOT).agg(F.max(F.struct(DAY, KNOWN, "record")).alias("latest"))
    return latest.select(OWNER, SNAPSHOT, *(F.col(f"latest.record.c{i}").alias(name) for i, name in enumerate(names)))


def _never() -> Column:
    return F.to_date(F.lit(END_OF_TIME))


def _numbered(names: Iterable[str]) -> list[Column]:
    return [F.col(quoted(name)).alias(f"c{i}") for i, name in enumerate(names)]


def _as_of(attributes: DataFrame, grid: Grid) -> DataFrame:
    """Return one row for every owner and snapshot at which something was known."""
    # Inside, columns are numbered: their names may be anything.
    # Greatest by time, then by arrival, then by value: ties must not depend on the order of the rows.
    names = [name for name in attributes.columns if name not in (OWNER, DAY, KNOWN)]
    record = F.struct(DAY, KNOWN, *_numbered(names))
    known = attributes.groupBy(OWNER, KNOWN).agg(F.max(record).alias("record"))
    history = Window.partitionBy(OWNER).orderBy(KNOWN)
    so_far = history.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    intervals = known.select(
        OWNER,
        KNOWN,
        F.max("record").over(so_far).alias("record"),
        F.coalesce(F.date_sub(F.lead(KNOWN).over(history), 1), _never()).alias("until"),
    )
    return grid.explode(intervals, F.col(KNOWN), F.col("until")).select(
        OWNER, SNAPSHOT, *(F.col("record")[f"c{i}"].alias(name) for i, name in enumerate(names))
    )
