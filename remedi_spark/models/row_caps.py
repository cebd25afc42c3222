"""Fits on fewer rows than there are: rare ones stay as far as they fit, and what is taken stands for the others.

Of 0/1 labels the positives are rare, of amounts those of the upper tail: case-control sampling, whose cost is that of
the rows it takes and whose loss is small as long as a rare row has many others beside it.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Shares:
    """Shares of the rows that are taken, each in (0, 1], and of those that are spare, in [0, 1)."""

    rare: float = 1.0
    others: float = 1.0
    unlabelled: float = 1.0
    spare: float = 0.0
    """Of the others, beyond those that are taken: nobody learns their labels, a teacher says what they are worth."""

    @classmethod
    def of(cls, limit: int | None, *, rare: int, others: int, unlabelled: int = 0, spare: int = 0) -> Shares:
        """Return what takes about ``limit`` labelled rows, and as many without a label at most; None: all rows.

        Rare rows are taken first, up to half of the limit: some rows must stand for the others. Of what is left of
        these, ``spare`` rows at most are spare.
        """
        if limit is None:
            return cls()
        mine = min(rare, max(limit // 2, limit - others))
        taken = _share(limit - mine, others)
        return cls(_share(mine, rare), taken, _share(limit, unlabelled), min(1 - taken, spare / max(others, 1)))

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

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able form."""
        return asdict(self)


def _share(taken: int, rows: int) -> float:
    return min(1.0, max(taken, 1) / rows) if rows else 1.0
