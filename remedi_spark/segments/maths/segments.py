"""Tasks drawn from a segment's labelled rows.

A task takes a moment, splits the owners in two, and gives one side the role of the support (rows whose labels were
known at that moment: K positives, one row an owner, and negatives at the segment's own rate), the other that of the
query (rows of the moment itself). No owner is in both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from remedi_spark.segments.maths.tasks import Rows, Task

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class SegmentRows:
    """Labelled rows of one segment.

    Attributes:
        name: of the segment.
        x: encoded features, shape (n, width).
        y: 0 or 1, shape (n,).
        owner: number of the owner, shape (n,).
        time: day of the snapshot, shape (n,); all the same in a table without a time.
        weight: rows of the population that a row stands for, shape (n,).
        key: of the owner, the same in every segment, shape (n,); None: no owner is in two segments.
    """

    name: str
    x: Array
    y: Array
    owner: Indices
    time: Indices
    weight: Array
    key: Indices | None = None


@dataclass(frozen=True)
class TaskRules:
    """How tasks are drawn; see :class:`remedi_spark.config.adapt.TaskConfig`.

    ``query_rows`` None: every query row.
    """

    support_rows: int
    query_rows: int | None
    gap_days: int
    history_days: int


class DrawnTask(NamedTuple):
    """Positions in a segment's rows and their weights."""

    support: Indices
    support_weight: Array
    query: Indices
    query_weight: Array


def query_times(rows: SegmentRows, rules: TaskRules) -> Indices:
    """Return the moments with support rows before them; in a table of one moment, that moment."""
    times = np.unique(rows.time)
    if len(times) <= 1:
        return times
    late: Indices = times[times - max(rules.gap_days, 1) >= times[0]]
    return late


def draw_task(
    rows: SegmentRows, k: int, rules: TaskRules, rng: np.random.Generator, *, moment: int | None = None
) -> DrawnTask | None:
    """Draw a task of ``k`` positives; None when a side has no positive or no negative, or the support fewer than k.

    Args:
        rows: all labelled rows of the segment.
        k: positives of the support.
        rules: sizes and times.
        rng: source of all randomness.
        moment: of the query; None: drawn.
    """
    times = query_times(rows, rules)
    if moment is None:
        if not len(times):
            return None
        moment = int(rng.choice(times))
    one_moment = len(np.unique(rows.time)) <= 1
    known = (rows.time <= moment - rules.gap_days) & (rows.time >= moment - rules.history_days)
    side = rng.random(int(rows.owner.max(initial=-1)) + 1) < 0.5
    own = side[rows.owner]
    support = draw_support(rows, np.flatnonzero(own & (known | one_moment)), k, rules.support_rows, rng)
    query = _draw_query(rows, np.flatnonzero(~own & (rows.time == moment)), rules.query_rows, rng)
    if support is None or query is None:
        return None
    return DrawnTask(*support, *query)


def draw_support(
    rows: SegmentRows, candidates: Indices, k: int, most: int, rng: np.random.Generator
) -> tuple[Indices, Array] | None:
    """Draw ``k`` positives and negatives at the candidates' rate, one row an owner; at most ``most`` rows.

    Negatives beyond ``most`` are made up for by weight.
    """
    positive = rows.y[candidates] > 0
    chosen = _one_an_owner(rows, candidates[positive], rng)[:k]
    others = candidates[~positive & ~np.isin(rows.owner[candidates], rows.owner[chosen])]
    others = _one_an_owner(rows, others, rng)
    if len(chosen) < k or not len(others):
        return None
    weight = rows.weight[candidates]
    wanted = k * weight[~positive].sum() / weight[positive].sum()
    others = others[: max(1, min(int(np.ceil(wanted)), most - k))]
    share = np.full(len(others), wanted / len(others))
    return np.concatenate([chosen, others]), np.concatenate([np.ones(k), share])


def _draw_query(
    rows: SegmentRows, candidates: Indices, most: int | None, rng: np.random.Generator
) -> tuple[Indices, Array] | None:
    positive = rows.y[candidates] > 0
    parts = candidates[positive], candidates[~positive]
    if not len(parts[0]) or not len(parts[1]):
        return None
    if most is None:
        return candidates, rows.weight[candidates]
    kept = _sample(parts[0], most // 2, rng)
    rest = _sample(parts[1], most - len(kept), rng)
    scale = [rows.weight[all_].sum() / rows.weight[some].sum() for all_, some in zip(parts, (kept, rest), strict=True)]
    weight = np.concatenate([rows.weight[kept] * scale[0], rows.weight[rest] * scale[1]])
    return np.concatenate([kept, rest]), weight


def _one_an_owner(rows: SegmentRows, candidates: Indices, rng: np.random.Generator) -> Indices:
    """Return the candidates in random order, the first of each owner."""
    shuffled = rng.permutation(candidates)
    _, first = np.unique(rows.owner[shuffled], return_index=True)
    return shuffled[np.sort(first)]


def _sample(values: Indices, most: int, rng: np.random.Generator) -> Indices:
    return values if len(values) <= most else rng.choice(values, most, replace=False)


def as_task(rows: SegmentRows, drawn: DrawnTask) -> Task:
    """Return the tensors of a drawn task."""
    return Task(
        as_rows(rows.x[drawn.support], rows.y[drawn.support], drawn.support_weight),
        as_rows(rows.x[drawn.query], rows.y[drawn.query], drawn.query_weight),
    )


def as_rows(x: Array, y: Array, weight: Array) -> Rows:
    """Return encoded rows as tensors: the inputs in doubles, as the nets read them."""
    return Rows(torch.from_numpy(x), torch.from_numpy(y).float(), torch.from_numpy(weight).float())
