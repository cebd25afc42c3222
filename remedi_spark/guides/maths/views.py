"""A view: the state of the log at the end of a day, whole, or with some items hidden as if they were new."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from remedi_spark.guides.maths.history import BoolArray, History
from remedi_spark.maths.checks import FloatArray, IntArray

Bits = npt.NDArray[np.uint64]
_HIDE, _SHOWN, _BUYER, _NEGATIVE = range(4)


@dataclass(frozen=True)
class View:
    """What is looked at, and as what.

    Attributes:
        t: days since 1970; what was known at its end is seen.
        role: ``learn``, ``test`` or ``list``.
        shown: how many buyers of a hidden item may be left to see; empty: nothing is hidden.
        share: share of the items that is hidden.
    """

    t: int
    role: str
    shown: tuple[int, ...] = ()
    share: float = 0.0

    @property
    def name(self) -> str:
        """What it goes by in tables."""
        return f"{self.role}_{self.t}{'_cold' if self.shown else ''}"

    def hidden(self, items: int) -> BoolArray:
        """Return which items are hidden, shape (I,); others at each t."""
        if not self.shown:
            return np.zeros(items, dtype=bool)
        return np.asarray(uniform(_HIDE, self.t, np.arange(items, dtype=np.int64)) < self.share)

    def shown_pairs(self, history: History, buyers: FloatArray, sample: float) -> BoolArray:
        """Return which pairs of hidden items are left to see, shape (n, I).

        About K buyers of an item, drawn by hash among the owners of the sample.

        Args:
            history: the block.
            buyers: the item's buyers known at t, shape (I,).
            sample: share of the owners in the sample.
        """
        if not self.shown:
            return np.zeros((history.owners, history.items), dtype=bool)
        place = uniform(_SHOWN, self.t, np.arange(history.items)) * len(self.shown)
        wanted = np.asarray(self.shown)[place.astype(np.int64)]
        chance = wanted / np.maximum(buyers * sample, 1)
        drawn = uniform(_BUYER, self.t, history.keys[:, None], np.arange(history.items)[None, :])
        return np.asarray((drawn < chance) & in_sample(history.keys, sample)[:, None])

    def seen(self, history: History, buyers: FloatArray, sample: float) -> History:
        """Return what of a block is seen at t."""
        past = history.until(self.t)
        if not self.shown:
            return past
        return past.hide(self.hidden(history.items), self.shown_pairs(history, buyers, sample))


def in_sample(keys: IntArray, share: float) -> BoolArray:
    """Return which owners are in a sample of about this share, (n,); a smaller one is part of a larger one.

    Their high bits decide, as they do for Spark in :func:`remedi_spark.guides.passes.sample_of`.
    """
    return np.asarray((keys.view(np.uint64) >> np.uint64(11)).astype(np.float64) / 2.0**53 < share)


def kept_negatives(keys: IntArray, items: int, view: View, share: float) -> BoolArray:
    """Return which pairs a uniform sample of the negatives keeps, shape (n, I)."""
    salt = 16 * view.t + bool(view.shown)
    return np.asarray(uniform(_NEGATIVE, salt, keys[:, None] * 5003 + np.arange(items)[None, :]) < share)


def uniform(purpose: int, salt: int, *numbers: IntArray) -> FloatArray:
    """Return numbers in [0, 1) that depend on whole numbers alone, in their broadcast shape."""
    mixed: Bits = np.full((1,), (purpose + 1) * 1_000_003 + salt, dtype=np.uint64)
    for one in numbers:
        mixed = _splitmix(np.asarray(one, dtype=np.int64).view(np.uint64) ^ _splitmix(mixed))
    return np.asarray((_splitmix(mixed) >> np.uint64(11)).astype(np.float64) / 2.0**53)


def _splitmix(x: Bits) -> Bits:
    """Mix 64 bits (Steele, Lea and Flood, 2014)."""
    with np.errstate(over="ignore"):
        z = x + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(z ^ (z >> np.uint64(31)))
