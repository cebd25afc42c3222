"""Fits on fewer rows than there are: rare ones stay as far as they fit, and what is taken stands for the others.

Of 0/1 labels the positives are rare, of amounts those of the upper tail: case-control sampling, whose cost is that of
the rows it takes and whose loss is small as long as a rare row has many others beside it.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from remedi_spark.columns import LABEL, OWNER, ROW_HASH, WEIGHT
from remedi_spark.spark.partitions import uniform

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


@dataclass(frozen=True)
class Shares:
    """Shares of the rows that are taken, each in (0, 1]."""

    rare: float = 1.0
    others: float = 1.0
    unlabelled: float = 1.0

    @classmethod
    def of(cls, limit: int | None, *, rare: int, others: int, unlabelled: int = 0) -> Shares:
        """Return what takes about ``limit`` labelled rows, and as many without a label at most; None: all rows.

        Rare rows are taken first, up to half of the limit: some rows must stand for the others.
        """
        if limit is None:
            return cls()
        mine = min(rare, max(limit // 2, limit - others))
        return cls(_share(mine, rare), _share(limit - mine, others), _share(limit, unlabelled))

    @property
    def every(self) -> bool:
        """Whether all rows are taken."""
        return self == Shares()

    @property
    def shift(self) -> float:
        """What brings the log-odds of a model of the rows as they are drawn to the true prior."""
        return math.log(self.others / self.rare)

    def prior(self, prior: float) -> float:
        """Return the share of rare rows among those that are taken, from that among all rows."""
        return prior * self.rare / (prior * self.rare + (1 - prior) * self.others)

    def draw(self, rows: DataFrame, rare: Column, seed: int, *, key: str = OWNER, label: str = LABEL) -> DataFrame:
        """Return the rows that are taken, with weights that stand for all; all rows of an owner with the same luck.

        Args:
            rows: the label (null where unknown), ``weight`` and the key.
            rare: which rows are rare; null counts as not.
            seed: of the draw.
            key: column whose value decides, and nothing else: partitions change nothing.
            label: column of the label.
        """
        if self.every:
            return rows
        share = self._share(rare, label)
        return rows.where(uniform(key, seed) < share).withColumn(WEIGHT, F.col(WEIGHT) / share)

    def as_drawn(self, rare: Column) -> Column:
        """Return the weight that a row had before it was to stand for others."""
        return F.col(WEIGHT) if self.every else F.col(WEIGHT) * self._share(rare, LABEL)

    def _share(self, rare: Column, label: str) -> Column:
        others = F.when(F.col(label).isNull(), F.lit(self.unlabelled)).otherwise(F.lit(self.others))
        return F.when(rare, F.lit(self.rare)).otherwise(others)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able form."""
        return asdict(self)


def at_most(train: DataFrame, limit: int, *, rows: int, positives: int, label: str = LABEL) -> DataFrame:
    """Return about ``limit`` of the rows, all positives among them as far as they fill half of it.

    The weights of what is taken stand for all rows.

    Args:
        train: ``label``, ``weight`` and ``row_hash``.
        limit: rows at most, give or take chance.
        rows: how many there are.
        positives: how many of them have a label above 0; 0: all rows are sampled alike, as amounts are.
        label: column of the label.
    """
    if rows <= limit:
        return train
    shares = Shares.of(limit, rare=positives, others=rows - positives)
    rare = F.col(label) > 0 if positives else F.lit(False)
    return shares.draw(train, rare, 0, key=ROW_HASH, label=label)


def _share(taken: int, rows: int) -> float:
    return min(1.0, max(taken, 1) / rows) if rows else 1.0
