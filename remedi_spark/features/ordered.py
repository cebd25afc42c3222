"""Aggregates that need the values themselves, in their order: quantiles, ranks, runs of days.

numpy alone, on the items of whole owners. Items are sorted once; each snapshot then takes those that count at it, in
the same order, and every aggregate follows from the stretch of each owner. The result depends on the items alone, not
on what stood beside them in a partition.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from remedi_spark.features.accumulate import Ints, Values

Floats = npt.NDArray[np.float64]
HASH_BITS = 53
"""A hash is a whole number of so many bits: a double holds it."""
HASHES = 256
"""Distinct values up to which an approximate count is exact; beyond, its standard error is 1 / √HASHES, 6 %."""


@dataclass(frozen=True)
class Stretches:
    """The items that count at one snapshot, sorted by owner and within an owner."""

    owner: Ints
    """Of each item, shape (items,)."""
    values: Values
    weights: Ints
    """How many values each item stands for."""
    owners: int

    @cached_property
    def counts(self) -> Ints:
        """Items of each owner, shape (owners,)."""
        return np.asarray(np.bincount(self.owner, minlength=self.owners))

    @cached_property
    def some(self) -> Ints:
        """The owners with at least one item."""
        return np.flatnonzero(self.counts)

    @cached_property
    def begins(self) -> Ints:
        """Position of the first item of each owner."""
        return np.cumsum(self.counts) - self.counts

    @cached_property
    def steps(self) -> tuple[Ints, Ints]:
        """Differences of values that follow each other within an owner, and their owners."""
        same = np.flatnonzero(np.diff(self.owner) == 0)
        return np.diff(self.values)[same], self.owner[same]

    def sums(self, values: Values) -> Values:
        """Add up by owner, for the owners of :attr:`some`; one after the other, in the order of the items."""
        return np.asarray(np.bincount(self.owner, values, self.owners)[self.some])

    def spread(self, found: Floats) -> Floats:
        """Return values of the owners of :attr:`some` for all owners; NaN for the others."""
        everyone = np.full(self.owners, np.nan)
        everyone[self.some] = found
        return everyone


def percentile(items: Stretches, share: float) -> Floats:
    """Return the value below which a share lies, linear between neighbours, as numpy and Spark's ``percentile`` do."""
    last = items.counts[items.some] - 1
    position = share * last
    low = np.floor(position).astype(np.int64)
    first = items.begins[items.some] + low
    below, above = items.values[first], items.values[first + (low < last)]
    return items.spread(below + (position - low) * (above - below))


def weighted(items: Stretches, share: float) -> Floats:
    """Return the smallest value that at least a share of all values do not pass."""
    running = np.cumsum(items.weights)
    total = items.sums(items.weights).astype(np.int64)
    before = running[items.begins[items.some]] - items.weights[items.begins[items.some]]
    wanted = before + np.maximum(1, np.ceil(share * total).astype(np.int64))
    return items.spread(items.values[np.searchsorted(running, wanted)])


def item(items: Stretches, rank: float) -> Floats:
    """Return the value at a place, 1 for the first."""
    place = int(rank) - 1
    there = items.counts > place
    found = np.full(items.owners, np.nan)
    found[there] = items.values[items.begins[there] + place]
    return found


def skew(items: Stretches, _: float) -> Floats:
    """Return the skewness of the values themselves, m₃ / m₂^1.5; null below three values or where all are alike.

    About the mean, in two passes: power sums would cancel out where the mean is large beside the spread.
    """
    count = items.counts[items.some]
    mean = items.sums(items.values) / count
    apart = items.values - np.repeat(mean, count)
    second, third = items.sums(apart * apart) / count, items.sums(apart * apart * apart) / count
    first = items.begins[items.some]
    differs = (count > 2) & (items.values[first] != items.values[first + count - 1])
    with np.errstate(invalid="ignore", divide="ignore"):
        return items.spread(np.where(differs, third / second**1.5, np.nan))


def distinct_about(items: Stretches, _: float) -> Floats:
    """Return how many different hashes there are, about: from the :data:`HASHES` smallest ones.

    Bar-Yossef et al. (2002), Counting distinct elements in a data stream; exact where there are fewer.
    """
    new = np.ones(len(items.owner), dtype=bool)
    new[1:] = (np.diff(items.owner) != 0) | (np.diff(items.values) != 0)
    once = Stretches(items.owner[new], items.values[new], items.weights[new], items.owners)
    found = once.counts.astype(np.float64)
    many = once.counts >= HASHES
    farthest = once.values[once.begins[many] + HASHES - 1].astype(np.float64)
    found[many] = np.rint((HASHES - 1) * 2.0**HASH_BITS / farthest)
    return found


def gap_max(items: Stretches, _: float) -> Floats:
    """Return the most days between a day and the next one."""
    steps, owner = items.steps
    found = np.full(items.owners, -1, dtype=np.int64)
    np.maximum.at(found, owner, steps)
    return np.where(found < 0, np.nan, found)


def streak_max(items: Stretches, _: float) -> Floats:
    """Return the most days in a row."""
    found = np.zeros(items.owners, dtype=np.int64)
    if len(items.owner):
        new = np.ones(len(items.owner), dtype=bool)
        new[1:] = (np.diff(items.owner) != 0) | (np.diff(items.values) != 1)
        first = np.flatnonzero(new)
        np.maximum.at(found, items.owner[first], np.diff(np.append(first, len(items.owner))))
    return found.astype(np.float64)


def regularity(items: Stretches, _: float) -> Floats:
    """Return the entropy of the gaps between days, as shares of their sum, over its largest: 1 where all are alike."""
    steps, owner = items.steps
    total = np.bincount(owner, steps, items.owners)
    share = steps / total[owner]
    entropy = np.bincount(owner, -share * np.log(share), items.owners)
    gaps = np.bincount(owner, minlength=items.owners)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(gaps > 1, np.minimum(entropy / np.log(gaps), 1.0), np.nan)


ORDERED: dict[str, Callable[[Stretches, float], Floats]] = {
    "percentile": percentile, "weighted": weighted, "item": item, "item_back": item, "skew": skew,
    "distinct_about": distinct_about, "gap_max": gap_max, "streak_max": streak_max, "regularity": regularity,
}  # fmt: skip
"""The views of ordered items."""
