"""Baseline Shapley values of a CatBoost model, by a table of its leaves.

A symmetric tree asks one question a level: the leaves of a row and of the reference row say in which levels the two
differ, and a row's contributions depend on its leaf alone. Here players are what the levels read, a player of the
reference or a combination of several; a combination's share goes in equal parts to those that differ from it.
CatBoost's own SHAP values with ``reference_data`` are the same without combinations
(``tests/learners/test_shapley_peers.py``), but took 16 to 50 times as long on 3,000 rows, and make every slot of the
encoded row a player, where here all slots of a feature switch together.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from remedi_spark.models.contract import Array
from remedi_spark.models.reference import Reference, joint_weight

DEEPEST = 8
"""Levels of a tree whose leaves are listed: the work grows by four a level."""
_NUMBERS = 1 << 20
"""Leaves that are looked up at once: few enough for a processor's cache."""
_FEW = 32
"""Players up to which the table is kept whole: a leaf has shares of at most eight, and sums of rows are quick."""
Player = frozenset[int]
Leaves = npt.NDArray[np.integer[Any]]


class CatBoostReasons:
    """Contributions of the reference's players given the leaves of rows.

    Args:
        model: CatBoost's own.
        splits: by tree and level, the slots that the split reads.
        leaves: of the reference row, (trees,).
        reference: what rows are explained against.
    """

    def __init__(self, model: Any, splits: list[list[frozenset[int]]], leaves: Leaves, reference: Reference) -> None:
        self.reference = reference
        of_slot = reference.players.tolist()
        trees = [[frozenset(of_slot[slot] for slot in slots) for slots in levels] for levels in splits]
        players = {player: i for i, player in enumerate(dict.fromkeys(one for tree in trees for one in tree))}
        self._members = np.array([[j in player for j in range(reference.size)] for player in players], dtype=float)
        self._members = self._members.reshape(len(players), reference.size)
        self._starts = np.cumsum([0, *model.get_tree_leaf_counts()])[:-1].astype(np.int32)
        values = np.split(np.asarray(model.get_leaf_values()) * model.get_scale_and_bias()[0], self._starts[1:])
        tables = [_table(*one, players) for one in zip(values, trees, leaves.tolist(), strict=True)]
        table = sparse.csr_array(sparse.vstack(tables))
        self._table = table.toarray() if len(players) <= _FEW else table

    def __call__(self, x: Array, leaves: Leaves) -> Array:
        """Return contributions, (n, reference.size), of rows, (n, width), with these leaves, (n, trees)."""
        parts = np.array_split(leaves, max(1, -(-leaves.size // _NUMBERS)))
        by_player = np.concatenate([self._by_player(part) for part in parts])
        differs = self.reference.differs(x).astype(np.float64)
        each = by_player / np.maximum(differs @ self._members.T, 1)
        found: Array = differs * (each @ self._members)
        return found

    def _by_player(self, leaves: Leaves) -> Array:
        rows, trees = leaves.shape
        at, ends = (self._starts + leaves).ravel(), np.arange(0, rows * trees + 1, trees, dtype=np.int32)
        chosen = sparse.csr_array((np.ones(len(at)), at, ends), (rows, self._table.shape[0]))
        found = chosen @ self._table
        return np.asarray(found.toarray() if sparse.issparse(found) else found)


def _table(values: Array, levels: list[Player], reference: int, players: dict[Player, int]) -> Any:
    """Return a tree's contributions, (leaves, players), given the reference row's leaf."""
    own = list(dict.fromkeys(levels))
    bits = np.array([sum(1 << i for i, player in enumerate(levels) if player == one) for one in own], dtype=np.intp)
    switched = (_coalitions(len(own)) @ bits)[:, None]
    leaves = np.arange(len(values))
    games = values[(leaves & switched) | (reference & ~switched)]  # (coalitions, leaves)
    shares = _shapley(len(own)) @ games
    columns = np.repeat([players[one] for one in own], len(values)).astype(np.intp)
    at = np.tile(leaves, len(own)), columns
    return sparse.csr_array((shares.ravel(), at), shape=(len(values), len(players)))


def _coalitions(players: int) -> npt.NDArray[np.intp]:
    """Return who is in each coalition, (2 ** players, players)."""
    return np.arange(1 << players)[:, None] >> np.arange(players) & 1


@cache
def _shapley(players: int) -> Array:
    """Return the weights by which coalitions' values give Shapley values, (players, 2 ** players)."""
    inside = _coalitions(players).T
    size = inside.sum(axis=0)
    joins = joint_weight(np.maximum(size, 1), players - size)
    stays = joint_weight(np.maximum(players - size, 1), size)
    return np.where(inside == 1, joins, -stays)
