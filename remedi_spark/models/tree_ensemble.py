"""Boosted trees as lists of nodes, whichever library grew them: ONNX and the what-if page read the same lists."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

COLUMNS = ("trees", "nodes", "modes", "features", "yes", "no", "null_yes")
"""Of a node: its tree, its place in it, what it asks (:data:`MODES`, or ``LEAF``), of which slot, where the answers
lead, and whether null is a yes."""
LEAF = "LEAF"
MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_EQ")
"""What a branch asks of a value: at most, below, or equal to its own."""


class PageTrees(Protocol):
    """Trees as the what-if page asks them; the margin is ``start`` and the sum of a leaf of each tree.

    Attributes:
        dtype: that values are rounded to before they are compared, float32 or float64.
        start: what the trees are added to.
    """

    dtype: Any
    start: float

    def to_trees(self) -> list[dict[str, list[Any]]]:
        """Return each tree as lists for JSON: by node (:meth:`Ensemble.to_trees`), or by level with ``leaves``."""
        ...


@dataclass
class Ensemble:
    """Nodes in lists that grow a node at a time; the margin is ``start`` and the sum of a leaf of each tree.

    Attributes:
        dtype: that values are rounded to before they are compared, float32 or float64.
        nodes: by column of :data:`COLUMNS`.
        values: of the branches, what they compare with; 0 for a leaf.
        leaves: tree, node and weight of each.
        start: what the trees are added to.
    """

    dtype: Any
    nodes: dict[str, list[Any]] = field(default_factory=lambda: {name: [] for name in COLUMNS})
    values: list[float] = field(default_factory=list)
    leaves: list[tuple[int, int, float]] = field(default_factory=list)
    start: float = 0.0

    def branch(self, tree: int, node: int, mode: str, feature: int, value: float, null_yes: bool) -> int:
        """Add an inner node without its children; return its place."""
        return self._add(tree, node, mode, feature, value, null_yes)

    def leaf(self, tree: int, node: int, weight: float) -> None:
        """Add a leaf."""
        self._add(tree, node, LEAF, 0, 0.0, False)
        self.leaves.append((tree, node, weight))

    def children(self, place: int, when_true: int, when_false: int) -> None:
        """Say where a branch leads."""
        self.nodes["yes"][place] = when_true
        self.nodes["no"][place] = when_false

    def _add(self, tree: int, node: int, mode: str, feature: int, value: float, null_yes: bool) -> int:
        for name, entry in zip(COLUMNS, (tree, node, mode, feature, 0, 0, int(null_yes)), strict=True):
            self.nodes[name].append(entry)
        self.values.append(value)
        return len(self.values) - 1

    def slots(self) -> list[int]:
        """Return the slots of the encoded row that any branch asks of."""
        asked = zip(self.nodes["modes"], self.nodes["features"], strict=True)
        return sorted({slot for mode, slot in asked if mode != LEAF})

    def to_trees(self) -> list[dict[str, list[Any]]]:
        """Return each tree as lists over its nodes, by their places in it, for JSON.

        ``ask``: 0 for a leaf, else 1 + 2 x the place of its mode in :data:`MODES`, + 1 where null is a yes. ``value``:
        what a branch compares with, the weight of a leaf. ``slot``, ``yes`` and ``no`` are 0 for a leaf.
        """
        weights = {(tree, node): weight for tree, node, weight in self.leaves}
        trees: dict[int, list[tuple[Any, ...]]] = {}
        columns = [self.nodes[name] for name in COLUMNS]
        for tree, node, mode, slot, yes, no, null_yes, value in zip(*columns, self.values, strict=True):
            ask = 0 if mode == LEAF else 1 + 2 * MODES.index(mode) + null_yes
            stored = self._shown(weights[tree, node] if mode == LEAF else value)
            trees.setdefault(tree, []).append((node, ask, slot, stored, yes, no))
        return [_by_name(sorted(nodes)) for _, nodes in sorted(trees.items())]

    def _shown(self, value: float) -> float:
        """Return the number of fewest digits that is the value once it is rounded as the trees' values are."""
        return float(str(np.float32(value))) if self.dtype == np.float32 else float(value)


def _by_name(nodes: list[tuple[Any, ...]]) -> dict[str, list[Any]]:
    if any(node[0] != i for i, node in enumerate(nodes)):
        raise ValueError("a tree's nodes are not numbered from 0 as they lie")
    return {name: [node[i + 1] for node in nodes] for i, name in enumerate(("ask", "slot", "value", "yes", "no"))}
