"""Rows as they would be if one feature were distributed as at training: what a drift costs is told by comparison.

A number keeps its owner's rank and takes the training value of that rank, so that a change of unit or level is undone
exactly; where nulls have become more, or a level is more frequent than it was, rows drawn by chance get a value that
training had and the rows now lack.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from remedi_spark.samples.encoder import NULL_LEVEL, Encoder, Levels
from remedi_spark.scoring.monitoring.distribution import Array, Distribution, bins_of_levels

_FAR = 3.0


def restored(
    column: pd.Series[Any], feature: int, encoder: Encoder, distribution: Distribution, rng: np.random.Generator
) -> npt.NDArray[Any]:
    """Return the values of a feature, under inside names, moved to its distribution at training, shape (n,)."""
    edges = distribution.edges[feature]
    counts = np.asarray(distribution.counts[feature], dtype=np.float64)
    if not counts.sum():
        return column.to_numpy()
    if edges is None:
        return _levels(column, encoder.levels[feature], counts, rng)
    return _numbers(column.to_numpy(dtype=np.float64), np.asarray(edges, dtype=np.float64), counts, rng)


def _numbers(values: Array, edges: Array, counts: Array, rng: np.random.Generator) -> Array:
    found, missing = values.copy(), np.isnan(values)
    if not len(edges) or not counts[:-1].sum():
        return found
    known = np.flatnonzero(~missing)
    # Rank among the known values, ties broken by chance: part of a level that has grown is moved on.
    order = known[np.lexsort((rng.random(len(known)), values[known]))]
    rank = np.empty(len(values))
    rank[order] = (np.arange(len(order)) + 0.5) / max(1, len(order))
    excess = round(missing.sum() - counts[-1] / counts.sum() * len(values))
    if excess > 0:
        filled = rng.choice(np.flatnonzero(missing), excess, replace=False)
        rank[filled] = rng.random(excess)
        known = np.concatenate([known, filled])
    found[known] = _at_rank(rank[known], values[known], edges, counts[:-1])
    return found


def _at_rank(rank: Array, values: Array, edges: Array, counts: Array) -> Array:
    """Return the training values of ranks in (0, 1); a value that is in its bin already stays.

    The outer bins have one edge only. Beyond it training is taken to reach as far as the next bin is wide, and a value
    that is further out than :data:`_FAR` times all bins together is of another unit.
    """
    ends = np.cumsum(counts) / counts.sum()
    target = np.minimum(np.searchsorted(ends, rank, side="left"), len(counts) - 1)
    start = np.concatenate([[0.0], ends[:-1]])
    within = (rank - start[target]) / np.maximum(ends[target] - start[target], 1e-12)
    first, last = (edges[1] - edges[0], edges[-1] - edges[-2]) if len(edges) > 1 else (0.0, 0.0)
    low = np.concatenate([[edges[0] - first], edges])[target]
    high = np.concatenate([edges, [np.nextafter(edges[-1] + last, np.inf)]])[target]
    moved = low + within * (high - low)
    moved = np.where((target > 0) & (moved <= low), high, moved)
    near = np.abs(values - np.clip(values, edges[0], edges[-1])) <= _FAR * (edges[-1] - edges[0])
    return np.where((np.searchsorted(edges, values, side="left") == target) & near, values, moved)


def _levels(values: pd.Series[Any], levels: Levels, counts: Array, rng: np.random.Generator) -> npt.NDArray[Any]:
    bin_of_level = bins_of_levels(levels)
    place = bin_of_level[levels.positions(values)]
    want = counts / counts.sum() * len(values)
    have = np.bincount(place, minlength=len(counts)).astype(np.float64)
    lacking = np.maximum(want - have, 0)
    lacking[-1] = 0  # levels that training did not keep have no names
    leaving = [
        rng.choice(np.flatnonzero(place == i), surplus, replace=False)
        for i, surplus in enumerate(np.floor(np.maximum(have - want, 0)).astype(int))
        if surplus
    ]
    if not leaving or not lacking.sum():
        return values.to_numpy(dtype=object)
    moved = np.concatenate(leaving)
    bins = rng.choice(len(counts), len(moved), p=lacking / lacking.sum())
    found = values.to_numpy(dtype=object, copy=True)
    for one in np.unique(bins):
        here = moved[bins == one]
        found[here] = _names_in(one, len(here), levels, bin_of_level, rng)
    return found


def _names_in(
    wanted: int, many: int, levels: Levels, bin_of_level: npt.NDArray[np.intp], rng: np.random.Generator
) -> npt.NDArray[Any]:
    """Return levels of a bin, each drawn as often as training had it; None for null."""
    inside = np.flatnonzero(bin_of_level[:-1] == wanted)
    if not len(inside):
        return np.full(many, None, dtype=object)
    weight = levels.rows[inside].sum(axis=1)
    share = weight / weight.sum() if weight.sum() else None
    known = np.array([None if levels.names[level] == NULL_LEVEL else levels.names[level] for level in inside], object)
    return known[rng.choice(len(inside), many, p=share)]
