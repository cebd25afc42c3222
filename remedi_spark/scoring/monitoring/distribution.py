"""The training rows' distribution, kept in a bundle, and the counts of other rows over the same bins.

Numbers are counted in at most 2 x :data:`QUANTILES` bins whose edges are quantiles of the training rows, and nulls;
categories by their most frequent levels, all other known ones, nulls, and levels that training never saw. Counts add
up, so that every task counts its own rows and only sums reach the driver.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from remedi_spark.maths.drift import histogram
from remedi_spark.maths.score_grid import count_on_grid
from remedi_spark.samples.encoder import NULL_LEVEL, Encoder, Levels

Array = npt.NDArray[np.float64]

QUANTILES = 10
TOP_LEVELS = 30
"""Levels of a category with a bin of their own."""


@dataclass(frozen=True)
class Distribution:
    """How often training rows fell into each bin.

    Attributes:
        rows: training rows.
        until: latest snapshot with a label among them, as text; None without a time.
        edges: by feature, inner edges of its bins; None for a category.
        counts: by feature, rows a bin. A number's last bin holds nulls; a category's last three hold the other known
            levels, nulls and unseen levels.
        score_edges: inner edges of the score's bins.
        score_counts: of training rows, or a sample of them, scored by the shipped model.
    """

    rows: int
    until: str | None
    edges: list[list[float] | None]
    counts: list[list[float]]
    score_edges: list[float] = field(default_factory=list)
    score_counts: list[float] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able form."""
        return asdict(self)

    def without(self, some: Counts) -> Distribution:
        """Return the distribution of the other training rows."""
        counts = [
            np.maximum(np.asarray(all_) - part, 0).tolist()
            for all_, part in zip(self.counts, some.features, strict=True)
        ]
        return replace(self, rows=max(0, self.rows - some.rows), counts=counts)

    @classmethod
    def from_dict(cls, tree: dict[str, Any]) -> Distribution:
        """Rebuild from :meth:`to_dict`."""
        return cls(**tree)


def bins_of_levels(levels: Levels) -> npt.NDArray[np.intp]:
    """Return the bin of each level of a category and, last, of unseen ones, shape (levels + 1,)."""
    top = min(TOP_LEVELS, len(levels.names))
    bins = np.minimum(np.arange(len(levels.names) + 1), top)
    bins[[j for j, name in enumerate(levels.names) if name == NULL_LEVEL]] = top + 1
    bins[-1] = top + 2
    return bins


class Counter:
    """Counts rows over the bins of a distribution; all counts are one vector, which adds up over batches and tasks.

    The vector holds rows, sum of the scores, each feature's bins, the score's bins and, of probabilities, their bins on
    the grid of :mod:`remedi_spark.maths.score_grid`.
    """

    def __init__(
        self,
        encoder: Encoder,
        edges: Sequence[Sequence[float] | None],
        score_edges: Sequence[float] = (),
        *,
        chances: bool = False,
    ) -> None:
        self._chances = chances
        self._encoder = encoder
        self._edges = [None if one is None else np.asarray(one, dtype=np.float64) for one in edges]
        self._score_edges = np.asarray(score_edges, dtype=np.float64)

    @cached_property
    def _bin_of_level(self) -> dict[int, npt.NDArray[np.intp]]:
        """By category, the bin of each level and, last, of unseen ones."""
        return {i: bins_of_levels(levels) for i, levels in self._encoder.levels.items()}

    @cached_property
    def _widths(self) -> list[int]:
        """Bins of each feature, then of the score."""
        features = [
            self._bin_of_level[i][-1] + 1 if edges is None else len(edges) + 2 for i, edges in enumerate(self._edges)
        ]
        return [*map(int, features), len(self._score_edges) + 2]

    def count(self, frame: pd.DataFrame, scores: Array | None = None) -> Array:
        """Return the counts of rows under inside names ``f0 … fn``, and of their scores, shape (n,), if there are."""
        positions = self._encoder.positions(frame)
        parts = [np.array([len(frame), 0.0 if scores is None else scores.sum()])]
        for i, edges in enumerate(self._edges):
            if edges is None:
                parts.append(np.bincount(self._bin_of_level[i][positions[i]], minlength=self._widths[i]))
            else:
                parts.append(histogram(frame[f"f{i}"].to_numpy(dtype=np.float64), edges))
        parts.append(histogram(np.empty(0) if scores is None else scores, self._score_edges))
        if self._chances:
            parts.append(count_on_grid(np.empty(0) if scores is None else scores))
        return np.concatenate(parts).astype(np.float64)

    def split(self, total: Array) -> Counts:
        """Return the counts behind a summed vector."""
        *features, scores, chances = np.split(total[2:], np.cumsum(self._widths))
        category = [edges is None for edges in self._edges]
        return Counts(
            int(total[0]), float(total[1]), features, scores, category, chances if self._chances else None
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Counts:
    """Rows over the bins of a distribution."""

    rows: int
    score_sum: float
    features: list[Array]
    scores: Array
    category: list[bool]
    """By feature, whether it is a category."""
    chances: Array | None = None
    """Probabilities on the grid; None of other scores."""

    def null_share(self, feature: int) -> float:
        """Return the share of rows without a value, in [0, 1]."""
        return float(self.features[feature][-2 if self.category[feature] else -1]) / max(1, self.rows)

    def unseen_share(self, feature: int) -> float | None:
        """Return the share of rows with a level that training never saw, or did not keep; None for a number."""
        return float(self.features[feature][-1]) / max(1, self.rows) if self.category[feature] else None


def training_counts(distribution: Distribution) -> Counts:
    """Return the training rows' own counts."""
    arrays = [np.asarray(one, dtype=np.float64) for one in distribution.counts]
    category = [edges is None for edges in distribution.edges]
    return Counts(distribution.rows, 0.0, arrays, np.asarray(distribution.score_counts), category)
