"""Exact baseline Shapley values of a LightGBM model, for many rows at once, by sparse products over all leaves.

For a leaf of value v, let A be the features of which the row alone gives all answers that lead there, and B those of
which the reference row alone does; a = |A|, b = |B|. If every other feature passes in both rows, each of A gets
v (a-1)! b! / (a+b)! and each of B -v a! (b-1)! / (a+b)!; else the leaf is out of reach of any mixture of the two.
``shap``'s TreeExplainer would not do (``tests/learners/test_shapley_peers.py``): it reads a split by a set of codes as
one by a threshold, sends some nulls by another branch than LightGBM does, and makes every slot of the encoded row a
player, where here all slots of a feature switch together.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import sparse

from remedi_spark.models.contract import Array
from remedi_spark.models.lightgbm.trees import Leaf, Questionnaire, read_trees
from remedi_spark.models.reference import Reference, joint_weight

Demand = tuple[int, frozenset[int]]
"""A feature, and the answers that it must not give, numbered as in :class:`Leaf`."""
Counts = npt.NDArray[np.int16]
_CELLS = 1 << 18
"""Leaves times rows that are computed at a time: what is known of them stays in the processor's cache."""


class LightGBMReasons:
    """Contributions of the reference's players to the sum of a model's trees.

    Args:
        text: the model's.
        reference: what rows are explained against.
    """

    def __init__(self, text: str, reference: Reference) -> None:
        self.reference = reference
        trees = read_trees(text)
        self._questions = Questionnaire({question for tree in trees for question in tree.questions})
        of_question = reference.players[self._questions.slots].tolist()
        leaves = [leaf for tree in trees for leaf in tree.leaves(self._questions.places)]
        paths = [_demands(leaf, of_question) for leaf in leaves]
        demands = list(dict.fromkeys(one for path in paths for one in path))
        places = {demand: i for i, demand in enumerate(demands)}
        self._wrong = _rows_of([sorted(answers) for _, answers in demands], 2 * self._questions.size)
        made = _rows_of([[places[one] for one in path] for path in paths], len(demands))
        values, players = np.array([leaf.value for leaf in leaves]), [player for player, _ in demands]
        fails = self._fails(reference.row[None])[:, 0]
        self._shares = _Shares(values, made, players, fails, reference.size)

    def __call__(self, x: Array) -> tuple[Array, Array]:
        """Return contributions of players, (n, reference.size), and the reference row's sum of trees, (n,)."""
        step = max(1, _CELLS // self._shares.leaves)
        found = np.zeros((len(x), self.reference.size))
        room = _Room.of(self._shares.leaves, min(step, len(x)))
        for first in range(0, len(x), step):
            fails = self._fails(x[first : first + step])
            found[first : first + step] = self._shares(fails, room).T
        return found, np.full(len(x), self._shares.base)

    def _fails(self, x: Array) -> Counts:
        """Return which demands rows do not meet, (demands, n), as 0 and 1."""
        given = np.empty((self._questions.size, 2, len(x)), dtype=np.int16)
        given[:, 1] = self._questions.answers(x)
        given[:, 0] = 1 - given[:, 1]
        wrong: Counts = self._wrong @ given.reshape(-1, len(x))
        return np.minimum(wrong, 1, out=wrong)


def _demands(leaf: Leaf, owners: list[int]) -> list[Demand]:
    """Return what the way to a leaf demands of each feature on it; ``owners`` has the feature of each question."""
    wrong: dict[int, list[int]] = {}
    for answer in leaf.wrong:
        wrong.setdefault(owners[answer >> 1], []).append(answer)
    return [(feature, frozenset(answers)) for feature, answers in wrong.items()]


class _Room(NamedTuple):
    """Memory for a few rows, (leaves, n): to ask for it again and again takes as long as all of the rest."""

    at: npt.NDArray[np.intp]
    shares: Array

    @classmethod
    def of(cls, leaves: int, rows: int) -> _Room:
        return cls(np.empty((leaves, rows), dtype=np.intp), np.empty((leaves, rows)))

    def first(self, rows: int) -> _Room:
        return _Room(self.at[:, :rows], self.shares[:, :rows])


class _Shares:
    """What leaves give to players, given the demands that fail.

    Args:
        values: of the leaves, (leaves,).
        paths: 1 where a leaf makes a demand, sparse, (leaves, demands).
        owners: player of each demand, (demands,).
        fails: whether the reference row fails a demand, as 0 and 1, (demands,).
        size: how many players there are.
    """

    def __init__(self, values: Array, paths: Any, owners: list[int], fails: Counts, size: int) -> None:
        self.leaves = len(values)
        needed = fails[paths.indices] == 1
        leaf, demand = np.repeat(np.arange(self.leaves), np.diff(paths.indptr)), paths.indices
        a, most = (np.bincount(leaf[some], minlength=self.leaves) for some in (needed, ~needed))
        self.base = float(values[a == 0].sum())
        # Features of B count 1 where they fail, those of A more than there ever are of B.
        self._limit = int(most.max()) + 1
        largest = self._limit * (int(a.max()) + 1)
        self._counting = paths.astype(np.int16 if largest < 1 << 15 else np.int32)
        self._counting.data[needed] = self._limit
        self._needed, self._barred = _weights(int(a.max()), self._limit)
        self._offset = a[:, None] * (self._limit + 1)
        to, given = np.array(owners, dtype=np.intp), np.arange(len(owners))
        self._to_players = _matrix(values[leaf[needed]], to[demand[needed]], leaf[needed], (size, self.leaves))
        self._to_demands = _matrix(-values[leaf[~needed]], demand[~needed], leaf[~needed], paths.shape[::-1])
        self._collect = _matrix(np.ones(len(given)), to, given, (size, len(given)))

    def __call__(self, fails: Counts, room: _Room) -> Array:
        """Return contributions, (players, n), given which demands fail, (demands, n)."""
        at, shares = room.first(fails.shape[1])
        b = self._counting @ fails
        np.add(self._offset, np.minimum(b, self._limit, out=b), out=at)
        found: Array = self._to_players @ self._needed.take(at, out=shares, mode="clip")
        by_demand = self._to_demands @ self._barred.take(at, out=shares, mode="clip")
        by_demand *= fails
        found += self._collect @ by_demand
        return found


def _weights(most_needed: int, limit: int) -> tuple[Array, Array]:
    """Return the weights of a feature of A and of one of B by a and b, flat, ((most_needed + 1) * (limit + 1),).

    A count of ``limit`` stands for leaves that are out of reach, whose weights are 0.
    """
    a, b = np.arange(most_needed + 1)[:, None], np.arange(limit + 1)[None]
    needed = np.where((a > 0) & (b < limit), joint_weight(np.maximum(a, 1), b), 0.0)
    barred = np.where((b > 0) & (b < limit), joint_weight(np.maximum(b, 1), a), 0.0)
    return needed.ravel(), barred.ravel()


def _rows_of(places: list[list[int]], width: int) -> Any:
    """Return a sparse matrix with a 1 in the given places of each row."""
    rows = np.repeat(np.arange(len(places)), [len(some) for some in places])
    columns = np.array([place for some in places for place in some], dtype=np.intp)
    return _matrix(np.ones(len(columns), dtype=np.int16), rows, columns, (len(places), width))


def _matrix(values: Any, rows: Any, columns: Any, shape: tuple[int, int]) -> Any:
    return sparse.csr_array((values, (rows, columns)), shape=shape)
