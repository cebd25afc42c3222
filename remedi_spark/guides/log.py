"""The log that the guide reads: owner, item and day in blocks of owners; and the items that it is about."""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from remedi_spark.columns import OWNER
from remedi_spark.config.features import FeaturesConfig
from remedi_spark.config.guide import GuideConfig
from remedi_spark.errors import InputError, nearest
from remedi_spark.features.expressions import numeric, require
from remedi_spark.features.reading import read_tables
from remedi_spark.features.sources import DAY, KNOWN, as_attributes, as_events
from remedi_spark.progress import warn
from remedi_spark.spark.kept import kept
from remedi_spark.spark.local_rows import local_rows
from remedi_spark.spark.names import quoted

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Row, SparkSession

HISTORY = "guide_history"
BLOCK, KEY, ITEM = "block", "key", "item"
CELLS = 1_500_000
"""Pairs of a block: its matrices are this big, and a task holds some dozens of them."""
WORDS = 60
"""Distinct values of a text column that describe one item."""


@dataclass(frozen=True)
class Vocabulary:
    """The items, in the order of their names."""

    names: tuple[str, ...]
    parents: tuple[str, ...]
    texts: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able form."""
        return asdict(self)

    @classmethod
    def from_dict(cls, tree: dict[str, Any]) -> Vocabulary:
        """Rebuild from :meth:`to_dict`."""
        return cls(*(tuple(tree[name]) for name in ("names", "parents", "texts")))


def read_events(spark: SparkSession, features: FeaturesConfig, guide: GuideConfig) -> tuple[DataFrame, DataFrame]:
    """Return events (owner_id, item, parent, value, texts as ``text_k``, days) and all known owners (owner_id, known).

    A null or empty item is no item: its event says that the owner is known, and nothing else.

    Raises:
        InputError: no such source or column, or a value that is no number.
    """
    if guide.source not in features.sources:
        raise InputError(f"guide.source: no source {guide.source!r}{nearest(guide.source, features.sources)}")
    tables = read_tables(spark, features, {})
    source, where = features.sources[guide.source], f"features.sources.{guide.source}"
    events = as_events(tables[guide.source], source, features.entity, where)
    for what, name in (("item", guide.item), ("parent", guide.parent), *(("texts", text) for text in guide.texts)):
        if name is not None:
            require(events, name, f"guide.{what}")
    if guide.value is not None:
        require(events, guide.value, "guide.value")
        numeric(events, quoted(guide.value), "guide.value")
    text = F.trim(F.col(quoted(guide.item)).cast("string"))
    value = F.lit(0.0) if guide.value is None else F.nanvl(F.col(quoted(guide.value)).cast("double"), F.lit(0.0))
    picked = events.select(
        OWNER, F.when(text != "", text).alias(ITEM), DAY, KNOWN, F.coalesce(value, F.lit(0.0)).alias("value"),
        (F.lit("") if guide.parent is None else F.col(quoted(guide.parent)).cast("string")).alias("parent"),
        *(F.col(quoted(name)).cast("string").alias(f"text_{k}") for k, name in enumerate(guide.texts)),
    )  # fmt: skip
    owners = [picked.select(OWNER, F.col(KNOWN).alias("known"))]
    for name, declared in features.attributes.items():
        rows = as_attributes(tables[name], declared, features.entity, f"features.attributes.{name}")
        known = F.col(KNOWN) if KNOWN in rows.columns else F.to_date(F.lit("1970-01-01"))
        owners.append(rows.select(OWNER, known.alias("known")))
    everybody = owners[0]
    for more in owners[1:]:
        everybody = everybody.unionByName(more)
    return picked, everybody.groupBy(OWNER).agg(F.min("known").alias("known"))


def vocabulary(events: DataFrame, guide: GuideConfig) -> Vocabulary:
    """Return the items with the most buyers.

    Raises:
        InputError: fewer than two items.
    """
    rows = events.where(F.col(ITEM).isNotNull())
    # countDistinct keeps no more than the items' rows in one place. Of a million items only the best go on from here.
    with kept(rows.groupBy(ITEM).agg(F.countDistinct(OWNER).alias("buyers"))) as buyers:
        top = buyers.orderBy(F.desc("buyers"), ITEM).limit(guide.max_items).select(ITEM).collect()
        levels = buyers.count() if len(top) == guide.max_items else len(top)
    items = sorted(_described(rows, [row[ITEM] for row in top]), key=lambda row: str(row[ITEM]))
    if len(items) < 2:
        what = "no item" if not items else f"only {items[0][ITEM]!r}"
        raise InputError(
            f"guide.item: {what} in column {guide.item!r} of source {guide.source!r}, expected at least two items to"
            " choose from; name another column"
        )
    if levels > len(items):
        warn(
            "guide",
            f"{levels} items in column {guide.item!r}: the {len(items)} with the most buyers are looked at, the others"
            " never shown (guide.max_items; a coarser column, such as a category, sees them all)",
        )
    names = [name for name in events.columns if name.startswith("text_")]
    return Vocabulary(
        tuple(row[ITEM] for row in items), tuple(row["parent"] or "" for row in items),
        tuple(" ".join([row[ITEM], row["parent"] or "", *(row[name] or "" for name in names)]) for row in items),
    )  # fmt: skip


def _described(rows: DataFrame, names: list[str]) -> list[Row]:
    """Return item, its most frequent parent and its words as ``text_k``, of the items named."""
    named = local_rows(rows.sparkSession, [{ITEM: name} for name in names], f"{ITEM} string")
    some = rows.join(F.broadcast(named), ITEM, "left_semi")
    parents = some.groupBy(ITEM, "parent").count()
    found = parents.groupBy(ITEM).agg(F.max(F.struct("count", "parent"))["parent"].alias("parent"))
    texts = [name for name in rows.columns if name.startswith("text_")]
    if texts:  # cut before they are collected
        words = [F.array_join(F.slice(F.sort_array(F.collect_set(name)), 1, WORDS), " ").alias(name) for name in texts]
        found = found.join(some.groupBy(ITEM).agg(*words), ITEM, "left")
    return found.collect()


def history_table(events: DataFrame, owners: DataFrame, items: Vocabulary, blocks: int) -> DataFrame:
    """Return block, key, owner_id, item (its number), day, known (days since 1970), lines and amount.

    An owner has one more row without an item, known from the day on which the owner is.
    """
    numbers = local_rows(
        events.sparkSession, [{ITEM: name, "number": place} for place, name in enumerate(items.names)],
        f"{ITEM} string, number int",
    )  # fmt: skip
    numbered = events.join(F.broadcast(numbers), ITEM).groupBy(OWNER, "number", DAY, KNOWN)
    bought = numbered.agg(F.count("*").cast("double").alias("lines"), F.round(F.sum("value"), 4).alias("amount"))
    rows = bought.select(
        OWNER, F.col("number").alias(ITEM), _days(F.col(DAY)).alias("day"), _days(F.col(KNOWN)).alias("known"),
        "lines", "amount",
    )  # fmt: skip
    known = _days(F.col("known"))
    alone = owners.select(
        OWNER, F.lit(None).cast("int").alias(ITEM), known.alias("day"), known.alias("known"),
        F.lit(0.0).alias("lines"), F.lit(0.0).alias("amount"),
    )  # fmt: skip
    key = F.xxhash64(OWNER)
    return rows.unionByName(alone).select(
        F.pmod(key, F.lit(blocks)).cast("int").alias(BLOCK), key.alias(KEY), OWNER, ITEM, "day", "known", "lines",
        "amount",
    )  # fmt: skip


def blocks_for(owners: int, items: int) -> int:
    """Return how many blocks the owners are dealt to, so that none outgrows a task's memory."""
    each = max(50, min(2000, CELLS // max(items, 1)))
    return max(1, -(-owners // each))


def _days(date: Any) -> Any:
    return F.datediff(date, F.to_date(F.lit("1970-01-01")))


def as_day(number: int) -> dt.date:
    """Return the date of a number of days since 1970."""
    return dt.date(1970, 1, 1) + dt.timedelta(days=int(number))
