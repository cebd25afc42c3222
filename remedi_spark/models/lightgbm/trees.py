"""The trees of a LightGBM model, read from its text, and the questions they ask of encoded rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from remedi_spark.models.contract import Array

Bits = npt.NDArray[np.bool_]
_CATEGORICAL, _DEFAULT_LEFT = 1, 2
_NONE, _ZERO = 0, 1
"""How LightGBM numbers the values that count as missing; 2 is NaN."""
_ZERO_BELOW = 1e-35


class Question(NamedTuple):
    """What a node asks of one slot: goes a row to the left?

    ``codes`` is set for a categorical split; ``missing`` is LightGBM's missing type.
    """

    slot: int
    missing: int
    codes: tuple[int, ...] | None
    threshold: float
    default_left: bool


class Leaf(NamedTuple):
    """A leaf's value, and the answers that lead elsewhere: twice a question's place, plus 1 if to the left."""

    value: float
    wrong: tuple[int, ...]


class Tree:
    """One tree, from its lines of text.

    Attributes:
        questions: of its inner nodes.
    """

    def __init__(self, block: str) -> None:
        lines = (line.partition("=") for line in block.split("\n\n", 1)[0].splitlines())
        fields = {name: value.split() for name, _, value in lines}
        self._values = [float(value) for value in fields["leaf_value"]]
        self._left, self._right = (list(map(int, fields.get(name, []))) for name in ("left_child", "right_child"))
        self.questions = _questions(fields) if self._left else []

    def leaves(self, places: Mapping[Question, int]) -> Iterator[Leaf]:
        """Return the leaves, given the place of each question."""
        twice = [2 * places[question] for question in self.questions]
        waiting: list[tuple[int, tuple[int, ...]]] = [(0 if self._left else -1, ())]
        while waiting:
            node, wrong = waiting.pop()
            if node < 0:  # a leaf
                yield Leaf(self._values[~node], wrong)
                continue
            waiting.append((self._right[node], (*wrong, twice[node] + 1)))
            waiting.append((self._left[node], (*wrong, twice[node])))


def read_trees(text: str) -> list[Tree]:
    """Return the trees of a model's text."""
    return [Tree(block) for block in text.split("\nTree=")[1:]]


def _questions(fields: dict[str, list[str]]) -> list[Question]:
    """Return the questions of a tree's inner nodes."""
    bounds, words = ([int(one) for one in fields.get(name, [])] for name in ("cat_boundaries", "cat_threshold"))

    def question(slot: str, threshold: str, kind: int) -> Question:
        codes = None
        if kind & _CATEGORICAL:
            first, last = bounds[int(threshold)], bounds[int(threshold) + 1]
            codes = tuple(32 * i + bit for i, w in enumerate(words[first:last]) for bit in range(32) if w >> bit & 1)
        return Question(int(slot), kind >> 2 & 3, codes, float(threshold), bool(kind & _DEFAULT_LEFT))

    kinds = map(int, fields["decision_type"])
    return [question(*one) for one in zip(fields["split_feature"], fields["threshold"], kinds, strict=True)]


class _Group:
    """Questions of one kind about one slot, at consecutive places."""

    def __init__(self, first: int, questions: list[Question]) -> None:
        self.places = slice(first, first + len(questions))
        self.slot, self._missing, codes, *_ = questions[0]
        self._thresholds = np.array([one.threshold for one in questions])[:, None]
        self._default_left = np.array([one.default_left for one in questions])[:, None]
        self._named = None if codes is None else _named([one.codes or () for one in questions])

    def answer(self, values: Array, left: Bits) -> None:
        """Say in ``left``, (questions, n), whether rows with these values of the slot, (n,), go left."""
        if self._named is not None:
            # Nulls, codes below 0 and codes that no question names go right; others are cut to whole numbers.
            other = self._named.shape[1] - 1
            left[:] = self._named[:, np.where((values > -1) & (values < other), values, other).astype(np.intp)]
            return
        missing = np.isnan(values)
        known = np.where(missing, 0.0, values)
        np.less_equal(known, self._thresholds, out=left)
        if self._missing == _ZERO:
            missing |= np.abs(known) <= _ZERO_BELOW
        if self._missing != _NONE and missing.any():
            left[:, missing] = self._default_left


def _named(codes: list[tuple[int, ...]]) -> Bits:
    """Return which codes are in each set, (sets, largest code + 2); the last column is for codes in none."""
    table = np.zeros((len(codes), max(max(some, default=0) for some in codes) + 2), dtype=bool)
    for row, some in zip(table, codes, strict=True):
        row[list(some)] = True
    return table


class Questionnaire:
    """Answers many questions about many rows.

    Attributes:
        places: where the answers to each question stand.
        slots: of the questions, by place.
    """

    def __init__(self, questions: set[Question]) -> None:
        def group(one: Question) -> tuple[int, int, bool]:
            return one.slot, one.missing, one.codes is not None

        ordered = sorted(questions, key=lambda one: (group(one), one.threshold, one.codes or (), one.default_left))
        self.places = {question: place for place, question in enumerate(ordered)}
        self.slots = [one.slot for one in ordered]
        kinds = [group(one) for one in ordered]
        starts = [i for i, kind in enumerate(kinds) if not i or kind != kinds[i - 1]]
        stops = [*starts[1:], len(ordered)]
        self._groups = [_Group(a, ordered[a:b]) for a, b in zip(starts, stops, strict=False)]

    @property
    def size(self) -> int:
        """How many questions there are."""
        return len(self.places)

    def answers(self, x: Array) -> Bits:
        """Return whether rows, (n, width), go left, (questions, n)."""
        left = np.empty((self.size, len(x)), dtype=bool)
        for group in self._groups:
            group.answer(x[:, group.slot], left[group.places])
        return left
