"""What is known of each item at t: sums over owners that add up over blocks, and the figures made of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from remedi_spark.guides.maths.history import WINDOWS, BoolArray, Readings
from remedi_spark.maths.checks import FloatArray, IntArray

UNIT = 65_536
"""Sums of fractions are added up in whole units of 1 / UNIT, so that no order of the blocks changes them."""
COUNTS = (
    *(f"bought_{w}" for w in range(WINDOWS)), "ever", "before", "again", "twice", "season", "gap_pairs", "gap",
    "price", "lines", "first",
)  # fmt: skip
"""Columns of the sums, each (I,)."""


def item_sums(readings: Readings) -> IntArray:
    """Return the block's part of the sums, shape (I, len(COUNTS)).

    ``before``: had it before the last window; ``again``: of these, bought in the last window; ``twice``: bought in the
    last window and the one before.
    """
    now, last = readings.windows[0], readings.windows[1]
    before = readings.since_first >= readings.horizon  # nan compares as False
    gap = readings.gap
    parts = [
        *readings.windows, readings.ever, before, before & now, now & last, readings.season, np.isfinite(gap),
        np.nan_to_num(np.rint(gap * UNIT)), np.nan_to_num(np.rint(readings.prices * UNIT)), readings.lines[-1],
        readings.since_first < readings.horizon,
    ]  # fmt: skip
    return np.stack([np.rint(part.sum(axis=0)).astype(np.int64) for part in parts], axis=1)


@dataclass(frozen=True, eq=False)
class Items:
    """The items at t."""

    owners: int
    """Owners with any history."""
    sums: dict[str, FloatArray]
    """By name of :data:`COUNTS`, each (I,)."""
    cold: BoolArray
    """Known by so few buyers that their shares say nothing of the item, shape (I,)."""

    @classmethod
    def of(cls, sums: IntArray, owners: int, cold: BoolArray) -> Items:
        """Make it of the sums over all blocks, shape (I, len(COUNTS))."""
        columns = {name: sums[:, place].astype(np.float64) for place, name in enumerate(COUNTS)}
        columns["gap"] /= UNIT
        columns["price"] /= UNIT
        return cls(owners, columns, cold)

    @property
    def share(self) -> FloatArray:
        """Share of the owners that bought it in the last window; what a list for everybody goes by."""
        return np.asarray(self.sums["bought_0"] / max(self.owners, 1))

    def figures(self) -> dict[str, FloatArray]:
        """Return the item's features, each (I,); shares of cold items are nan."""
        got, n = self.sums, max(self.owners, 1)
        windows = np.stack([got[f"bought_{w}"] for w in range(WINDOWS)])
        warm = np.where(self.cold, np.nan, 1.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            return {
                "item_share": warm * windows[0] / n,
                "item_share_3": warm * windows[:3].mean(axis=0) / n,
                "item_share_6": warm * windows.mean(axis=0) / n,
                "item_share_ever": warm * got["ever"] / n,
                "item_trend": warm * np.log((windows[0] + 1) / (windows[1:4].mean(axis=0) + 1)),
                "item_new_rate": warm * (got["bought_0"] - got["again"]) / (n - got["before"] + 1),
                "item_season": warm * np.where(got["season"] > 0, got["season"] / n, np.nan),
                "item_again": (got["again"] + 0.5) / (got["before"] + 5),
                "item_twice": (got["twice"] + 0.5) / (got["bought_1"] + 5),
                "item_gap": got["gap"] / got["gap_pairs"],
                "item_price": got["price"] / got["ever"],
                "item_lines": got["lines"] / windows.sum(axis=0),
                "item_buyers": np.log1p(got["ever"]),
            }
