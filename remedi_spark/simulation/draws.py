"""Random numbers as a function of seed, name and key.

Spark's own ``rand`` depends on how rows are spread over partitions. A hash does not: the same owner gets the same
numbers wherever and whenever they are drawn, and any number can be drawn again instead of being kept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

if TYPE_CHECKING:
    from pyspark.sql import Column

_BITS = 53
"""A double holds so many bits exactly."""


@dataclass(frozen=True)
class Draws:
    """Independent streams of random numbers by name."""

    seed: int

    def uniform(self, stream: str, *keys: Column) -> Column:
        """Return a number in (0, 1)."""
        # Hashed twice: neighbouring keys must not give neighbouring numbers.
        inner = F.xxhash64(F.lit(self.seed), F.lit(stream), *keys)
        bits = F.shiftrightunsigned(F.xxhash64(inner, F.lit(stream)), 64 - _BITS)
        return (bits.cast("double") + 0.5) / F.lit(float(2**_BITS))

    def normal(self, stream: str, *keys: Column) -> Column:
        """Return a standard normal number (Box and Muller, 1958)."""
        radius = F.sqrt(-2.0 * F.log(self.uniform(f"{stream}:radius", *keys)))
        return radius * F.cos(2.0 * math.pi * self.uniform(f"{stream}:angle", *keys))

    def geometric(self, mean: Column, stream: str, *keys: Column) -> Column:
        """Return a whole number ≥ 0 with P(n ≥ j) = (mean / (1 + mean))^j: counts with a long tail."""
        return F.floor(F.log(self.uniform(stream, *keys)) / F.log(mean / (1.0 + mean))).cast("int")

    def choice(self, levels: tuple[str, ...], stream: str, *keys: Column) -> Column:
        """Return one of the levels, all equally likely."""
        position = F.floor(self.uniform(stream, *keys) * len(levels)).cast("int")
        return F.element_at(F.array(*map(F.lit, levels)), position + 1)
