"""What a day keeps of the values themselves, for aggregates that need more than totals: bounded lists, sorted.

``list``: all values. ``sketch``: the values rounded to 1 %, and how many of each. ``top``, ``bottom``: the k largest or
smallest; ``head``, ``tail``: the k first or last, with their moments. ``hashes``: the smallest hashes of what occurred,
for approximate distinct counts. Those of several days together hold all that a window needs.

Where owners mostly have one event a day, a list has one value. Spark then groups by the values too, and keeps them in
plain columns (:func:`single_rows`); otherwise lists are made in Arrow (:func:`list_rows`). Whoever reads them sees the
same values either way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from remedi_spark.columns import OWNER
from remedi_spark.features.amounts import Amount, known_value
from remedi_spark.features.list_rows import AT, ListColumn, ListMaker
from remedi_spark.features.ordered import HASH_BITS, HASHES
from remedi_spark.features.sources import DAY, KNOWN, MOMENT

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from remedi_spark.features.plan import Cell

LISTS = ("list", "sketch", "top", "bottom", "head", "tail", "hashes")
GAMMA = 1.02
"""Two neighbours of a sketch are so far apart: no value is moved by more than 1 % (Masson et al. 2019, DDSketch)."""
SMALLEST = 1e-9
"""Nearer to zero, a value of a sketch is zero."""


OWNERS = 16
"""One owner in so many is looked at for :func:`is_sparse`."""
SPARSE = 1.5
"""Events a day of an owner up to which they are sparse."""
_MOMENT, _TIMES = "__moment", "__times"


@dataclass(frozen=True)
class Values:
    """The columns that lists are made of, each once."""

    columns: tuple[Column, ...]
    lists: tuple[ListColumn, ...]

    @property
    def dated(self) -> bool:
        """Whether moments are asked for."""
        return any(one.dated for one in self.lists)


def single(name: str) -> str:
    """Return the column of a cell for the only value of a row."""
    return f"{name}__one"


def single_at(name: str) -> str:
    """Return the column of the moment of :func:`single`."""
    return f"{name}__at"


def stored_columns(cell: Cell) -> tuple[str, ...]:
    """Return the columns that a cell of lists has."""
    dated = (single_at(cell.name),) if cell.partial in ("head", "tail") else ()
    return (cell.name, single(cell.name), *dated)


def is_sparse(events: DataFrame) -> bool:
    """Whether owners mostly have one event a day."""
    some = events.filter(F.pmod(F.xxhash64(OWNER), F.lit(OWNERS)) == 0).groupBy(OWNER, DAY, KNOWN).count()
    days, rows = some.agg(F.count("*"), F.sum("count")).collect()[0]
    return bool(days) and rows <= SPARSE * days


def single_rows(
    events: DataFrame, cells: Sequence[Cell], amounts: Mapping[str, Amount], partials: Sequence[Column]
) -> DataFrame:
    """Return rows of owner_id, :data:`DAY`, :data:`KNOWN`, ``partials`` and the cells: a row for events that are alike.

    What occurs once is in a column of its own, what occurs several times in a list.
    """
    values = list_values(events, cells, amounts)
    moments = [F.unix_micros(MOMENT).alias(_MOMENT)] if values.dated else []
    rows = events.groupBy(OWNER, DAY, KNOWN, *moments, *values.columns).agg(F.count("*").alias(_TIMES), *partials)
    inner = {_MOMENT, _TIMES, *(one.values for one in values.lists)}
    own = [column for one in values.lists for column in _single(one)]
    return rows.select(*(f"`{name}`" for name in rows.columns if name not in inner), *own)


def _single(column: ListColumn) -> list[Column]:
    value, times = F.col(column.values), F.col(_TIMES)
    one = F.struct(F.col(_MOMENT).alias("at"), value.alias("value")) if column.dated else value
    most = times if column.keep is None else F.least(times, F.lit(column.keep))
    several = F.array_repeat(one, most.cast("int"))
    if column.counted:
        several = F.array(F.struct(value.alias("value"), times.cast("int").alias("n")))
    alone = (times == 1) | F.lit(column.once)
    found = [
        F.when(value.isNotNull() & ~alone, several).alias(column.name),
        F.when(alone, value).alias(single(column.name)),
    ]
    at = F.when(alone & value.isNotNull(), F.col(_MOMENT)).alias(single_at(column.name)) if column.dated else None
    return found if at is None else [*found, at]


def list_rows(events: DataFrame, cells: Sequence[Cell], amounts: Mapping[str, Amount]) -> DataFrame:
    """Return rows of owner_id, :data:`DAY`, :data:`KNOWN` and one column of lists a cell; null: nothing of the kind."""
    values = list_values(events, cells, amounts)
    moments = [F.unix_micros(MOMENT).alias(AT)] if values.dated else []
    sent = events.select(OWNER, DAY, KNOWN, *moments, *values.columns)
    kinds = dict(sent.dtypes)
    listed = (f"`{one.name}` {_type(one, kinds)}" for one in values.lists)
    rows = sent.mapInArrow(ListMaker(values.lists), f"{OWNER} string, {DAY} date, {KNOWN} date, {', '.join(listed)}")  # type: ignore[arg-type]
    alone = {single(one.name): kinds[one.values] for one in values.lists}
    alone |= {single_at(one.name): "bigint" for one in values.lists if one.dated}
    return rows.withColumns({name: F.lit(None).cast(kind) for name, kind in alone.items()})


def list_values(events: DataFrame, cells: Sequence[Cell], amounts: Mapping[str, Amount]) -> Values:
    """Return what the lists of cells are made of."""
    names: dict[tuple[str, str | None, str], str] = {}
    columns, lists = [], []
    for cell in cells:
        asked = (cell.where, cell.of, cell.partial if cell.partial in ("sketch", "hashes") else "")
        if asked not in names:
            names[asked] = f"__v{len(names)}"
            columns.append(_values(events, cell, amounts.get(cell.of or "")).alias(names[asked]))
        lists.append(_column(cell, names[asked]))
    return Values(tuple(columns), tuple(lists))


def _column(cell: Cell, values: str) -> ListColumn:
    if cell.partial == "hashes":
        return ListColumn(cell.name, values, once=True, keep=HASHES)
    return ListColumn(
        cell.name, values, backwards=cell.partial in ("top", "tail"), dated=cell.partial in ("head", "tail"),
        counted=cell.partial == "sketch", keep=cell.keep,
    )  # fmt: skip


def _type(column: ListColumn, kinds: Mapping[str, str]) -> str:
    value = kinds[column.values]
    if column.dated:
        return f"array<struct<at: bigint, value: {value}>>"
    return f"array<struct<value: {value}, n: int>>" if column.counted else f"array<{value}>"


def _values(events: DataFrame, cell: Cell, amount: Amount | None) -> Column:
    """Return what a list is made of, null for events that are not meant."""
    selected = F.expr(cell.where)
    value = known_value(events, cell.of or "NULL") if amount is None else amount.value
    if cell.partial == "hashes":
        text = known_value(events, cell.of or "NULL").cast("string")
        value = F.when(text.isNotNull(), F.shiftrightunsigned(F.xxhash64(text), 64 - HASH_BITS))
    elif cell.partial == "sketch":
        value = _rounded(value)
    elif amount is not None:
        value = value + F.lit(0.0)  # grouping makes -0.0 to 0.0, so that it has to be everywhere
    return F.when(selected, value)


def _rounded(value: Column) -> Column:
    level = F.pow(F.lit(GAMMA), F.ceil(F.log(F.abs(value)) / math.log(GAMMA))) * (2 / (1 + GAMMA))
    return F.when(F.abs(value) < SMALLEST, F.lit(0.0)).otherwise(F.signum(value) * level)
