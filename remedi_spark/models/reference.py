"""The row that others are explained against, and the weights of a baseline Shapley value.

A prediction is a game between the features: of some of them it sees the row's values, of all others those of the
reference row (Sundararajan and Najmi, arXiv 1908.08474, "baseline Shapley"; interventional TreeSHAP with one background
row). All slots of a feature switch together. Contributions add up to the row's margin less the reference row's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln

from remedi_spark.samples.layout import Layout

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Reference:
    """A reference row.

    Attributes:
        row: encoded, shape (width,).
        owners: the feature of each slot, shape (width,).
    """

    row: Array
    owners: npt.NDArray[np.intp]

    @classmethod
    def of(cls, row: Array, layout: Layout) -> Reference:
        """Return an encoded row, shape (width,), as a reference."""
        return cls(np.asarray(row, dtype=np.float64), np.array([slot.feature for slot in layout.slots], dtype=np.intp))

    @cached_property
    def features(self) -> int:
        """How many features there are."""
        return int(self.owners.max(initial=-1)) + 1

    def by_feature(self, by_slot: Array) -> Array:
        """Return contributions of slots, (n, width), added up by feature, (n, features)."""
        found = np.zeros((self.features, len(by_slot)))
        np.add.at(found, self.owners, by_slot.T)
        return found.T

    def differs(self, x: Array) -> npt.NDArray[np.bool_]:
        """Return in which features rows, (n, width), differ from the reference, (n, features)."""
        same = (x == self.row) | (np.isnan(x) & np.isnan(self.row))
        return self.by_feature(~same) > 0


def joint_weight(needed: npt.ArrayLike, barred: npt.ArrayLike) -> Array:
    """Return (a-1)! b! / (a+b)!: a needed feature's share in a game that pays 1.

    The game pays when all of ``a`` (>= 1) features are in the coalition and none of ``b`` others is; each of these
    others gets minus ``joint_weight(b, a)``.
    """
    a, b = np.asarray(needed, dtype=np.float64), np.asarray(barred, dtype=np.float64)
    return np.asarray(np.exp(gammaln(a) + gammaln(b + 1) - gammaln(a + b + 1)))
