"""A block of owners' histories as arrays, and what is read from it at the end of day t.

A row is what one owner bought of one item on one day. Only rows that were known by t are read, so that rows that
become known later change nothing.

Shapes: n owners, I items.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from remedi_spark.maths.checks import FloatArray, IntArray

BoolArray = npt.NDArray[np.bool_]

WINDOWS = 6
"""Windows of the horizon's length before t that are looked at one by one."""
LONG = 4
"""Half-life of the long decay, in horizons; the short one is one horizon."""


@dataclass(frozen=True, eq=False)
class History:
    """Rows of a block of owners, in any order."""

    keys: IntArray
    """Hash of each owner's id, shape (n,)."""
    items: int
    """I."""
    owner: IntArray
    """0…n−1, shape (rows,), as all below."""
    item: IntArray
    """0…I−1."""
    day: IntArray
    """Days since 1970."""
    known: IntArray
    """Day from which the row is known, at least ``day``."""
    lines: FloatArray
    amount: FloatArray

    @property
    def owners(self) -> int:
        """Number of owners n."""
        return len(self.keys)

    def where(self, rows: BoolArray) -> History:
        """Return the same owners with some of the rows."""
        names = ("owner", "item", "day", "known", "lines", "amount")
        return replace(self, **{name: getattr(self, name)[rows] for name in names})

    def until(self, t: int) -> History:
        """Return what was known at the end of day t."""
        return self.where(self.known <= t)

    def hide(self, items: BoolArray, shown: BoolArray) -> History:
        """Leave out the rows of ``items`` (I,) but for the pairs in ``shown`` (n, I)."""
        return self.where(~items[self.item] | shown[self.owner, self.item])

    def add_up(self, weights: FloatArray | None = None, rows: BoolArray | None = None) -> FloatArray:
        """Return sums by owner and item, shape (n, I); without weights, the number of rows."""
        cell = self.owner * self.items + self.item
        if rows is not None:
            cell, weights = cell[rows], None if weights is None else weights[rows]
        summed = np.bincount(cell, weights=weights, minlength=self.owners * self.items)
        return summed.astype(np.float64).reshape(self.owners, self.items)

    def bought(self, first: int, last: int) -> BoolArray:
        """Return which pairs have a row in the days (first, last], shape (n, I)."""
        return np.asarray(self.add_up(rows=(self.day > first) & (self.day <= last)) > 0)


@dataclass(frozen=True, eq=False)
class Readings:
    """What is read of each pair (n, I) and each owner (n,) at t; a day that never was is nan."""

    t: int
    horizon: int
    windows: BoolArray
    """Bought in the w-th window (t − (w + 1) h, t − w h], shape (WINDOWS, n, I)."""
    lines: FloatArray
    """Lines in the last horizon, three and six of them, shape (3, n, I)."""
    short: FloatArray
    """Lines, each weighted by ½ to its age in horizons."""
    long: FloatArray
    """Likewise, with a half-life of LONG horizons."""
    days: FloatArray
    """Days with a purchase, ever."""
    since_last: FloatArray
    since_first: FloatArray
    spend: FloatArray
    """Amount in the last WINDOWS horizons."""
    prices: FloatArray
    """Mean of log(1 + |amount per line|) over the pair's days; nan without."""
    visits: FloatArray
    """Days with any purchase in the last horizon, three and six of them, shape (3, n)."""
    visited_last: FloatArray
    visited_first: FloatArray
    season: BoolArray
    """Bought in the days that the label covers, one year before: the item's, not the pair's, evidence."""

    @property
    def gap(self) -> FloatArray:
        """Mean days between the pair's purchases; nan below two of them."""
        with np.errstate(divide="ignore", invalid="ignore"):
            gap = (self.since_first - self.since_last) / (self.days - 1)
        return np.where(self.days > 1, gap, np.nan)

    @property
    def ever(self) -> BoolArray:
        """Whether the owner has had the item."""
        return np.asarray(self.days > 0)


def read(history: History, t: int, horizon: int) -> Readings:
    """Read a block at the end of day t; ``horizon`` in days."""
    past = history.until(t)
    age = (t - past.day).astype(np.float64)
    within = [past.day > t - horizon * count for count in (1, 3, WINDOWS)]
    cells = (past.owners, past.items)
    first, last = np.full(cells, np.nan), np.full(cells, np.nan)
    np.fmin.at(last, (past.owner, past.item), age)
    np.fmax.at(first, (past.owner, past.item), age)
    of_days = _distinct_days(past)
    visits, visited_last, visited_first = _visits(past, t, horizon)
    price = np.log1p(np.abs(past.amount / np.maximum(past.lines, 1)))
    with np.errstate(invalid="ignore", divide="ignore"):
        prices = past.add_up(price) / past.add_up()
    return Readings(
        t, horizon,
        windows=np.stack([past.bought(t - horizon * (w + 1), t - horizon * w) for w in range(WINDOWS)]),
        lines=np.stack([past.add_up(past.lines, rows) for rows in within]),
        short=past.add_up(past.lines * 0.5 ** (age / horizon)),
        long=past.add_up(past.lines * 0.5 ** (age / (LONG * horizon))),
        days=past.add_up(rows=of_days), since_last=last, since_first=first,
        spend=past.add_up(past.amount, within[-1]), prices=prices,
        visits=visits, visited_last=visited_last, visited_first=visited_first,
        season=past.bought(t - 365, t - 365 + horizon),
    )  # fmt: skip


def _distinct_days(past: History) -> BoolArray:
    """Mark one row of each owner, item and day: rows of one day may have become known on several."""
    span = int(past.day.max() - past.day.min()) + 1 if len(past.day) else 1
    code = (past.owner * past.items + past.item) * span + (past.day - (past.day.min() if len(past.day) else 0))
    marked = np.zeros(len(code), dtype=bool)
    marked[np.unique(code, return_index=True)[1]] = True
    return marked


def _visits(past: History, t: int, horizon: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    pairs = np.unique(np.stack([past.owner, past.day]), axis=1) if len(past.day) else np.empty((2, 0), dtype=np.int64)
    owner, age = pairs[0], t - pairs[1]
    visits = np.stack(
        [
            np.bincount(owner[age < horizon * count], minlength=past.owners).astype(np.float64)
            for count in (1, 3, WINDOWS)
        ]
    )
    last, first = np.full(past.owners, np.nan), np.full(past.owners, np.nan)
    np.fmin.at(last, owner, age.astype(np.float64))
    np.fmax.at(first, owner, age.astype(np.float64))
    return visits, last, first
