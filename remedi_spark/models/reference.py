"""The row that others are explained against, and the weights of a baseline Shapley value.

A prediction is a game between the features: of some of them it sees the row's values, of all others those of the
reference row (Sundararajan and Najmi, arXiv 1908.08474, "baseline Shapley"; interventional TreeSHAP with one background
row). All slots of a feature switch together; what is made of two numbers is a player of its own, whose contribution
then goes to those of the two that differ from the reference row, in halves. Contributions add up to the row's margin
less the reference row's.
"""

from __future__ import annotations

from dataclasses import dataclass

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
        players: the player of each slot, shape (width,): its feature; where it is made, a number from ``features`` on.
        features: how many features there are.
        made: of each player that is made, its two features.
    """

    row: Array
    players: npt.NDArray[np.intp]
    features: int
    made: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, row: Array, layout: Layout) -> Reference:
        """Return an encoded row, shape (width,), as a reference."""
        slots = layout.slots
        players = np.array([slot.feature for slot in slots], dtype=np.intp)
        features = int(players.max(initial=-1)) + 1
        made = [(at, slot.made) for at, slot in enumerate(slots) if slot.made is not None]
        players[[at for at, _ in made]] = features + np.arange(len(made))
        pairs = tuple((slots[one.first].feature, slots[one.second].feature) for _, one in made)
        return cls(np.asarray(row, dtype=np.float64), players, features, pairs)

    @property
    def size(self) -> int:
        """How many players there are."""
        return self.features + len(self.made)

    def by_player(self, by_slot: Array) -> Array:
        """Return contributions of slots, (n, width), added up by player, (n, size)."""
        found = np.zeros((self.size, len(by_slot)))
        np.add.at(found, self.players, by_slot.T)
        return found.T

    def by_feature(self, x: Array, by_player: Array) -> Array:
        """Return contributions of players, (n, size), of rows, (n, width), as those of features, (n, features)."""
        found = by_player[:, : self.features].copy()
        if not self.made:
            return found
        differs = self.differs(x)
        for player, (first, second) in enumerate(self.made, self.features):
            both = differs[:, first] == differs[:, second]
            share = np.where(both, 0.5, differs[:, first])
            found[:, first] += by_player[:, player] * share
            found[:, second] += by_player[:, player] * (1 - share)
        return found

    def differs(self, x: Array) -> npt.NDArray[np.bool_]:
        """Return which players of rows, (n, width), differ from the reference, (n, size)."""
        same = (x == self.row) | (np.isnan(x) & np.isnan(self.row))
        return self.by_player(~same) > 0


def joint_weight(needed: npt.ArrayLike, barred: npt.ArrayLike) -> Array:
    """Return (a-1)! b! / (a+b)!: a needed feature's share in a game that pays 1.

    The game pays when all of ``a`` (>= 1) features are in the coalition and none of ``b`` others is; each of these
    others gets minus ``joint_weight(b, a)``.
    """
    a, b = np.asarray(needed, dtype=np.float64), np.asarray(barred, dtype=np.float64)
    return np.asarray(np.exp(gammaln(a) + gammaln(b + 1) - gammaln(a + b + 1)))
