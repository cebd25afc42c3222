"""Owner and item pairs at t: which are worth a score, and their features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from remedi_spark.guides.maths.history import BoolArray, Readings
from remedi_spark.guides.maths.items import Items
from remedi_spark.guides.maths.recommend import Recommenders, presence
from remedi_spark.maths.checks import FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class Catalogue:
    """What is known of the items whatever the day."""

    parent: IntArray
    """Number of each item's parent, shape (I,); all 0 without parents."""
    similar: FloatArray
    """Likeness by content, shape (I, I)."""

    def parents(self) -> FloatArray:
        """Return membership, shape (I, parents)."""
        return np.eye(int(self.parent.max(initial=0)) + 1)[self.parent]


@dataclass(frozen=True, eq=False)
class Scene:
    """Everything that is known at one t besides the block's own history."""

    items: Items
    recommenders: Recommenders
    catalogue: Catalogue


def cheap_scores(readings: Readings, scene: Scene) -> dict[str, FloatArray]:
    """Return the simple recommenders' scores of all pairs of the block, shape (n, I)."""
    scores = scene.recommenders.scores(readings)
    nearness = scene.catalogue.similar
    weights = nearness / np.maximum(nearness.sum(axis=1, keepdims=True), 1e-12)
    scores["content"] = presence(readings) @ weights.T
    return scores


def candidates(
    readings: Readings, scene: Scene, scores: dict[str, FloatArray], each: int, allowed: BoolArray
) -> BoolArray:
    """Return the pairs to score among those allowed, shape (n, I), as both masks.

    What the owner has had, the best ``each`` of every cheap score, the most popular items, and all cold items, of which
    the cheap scores know little.
    """
    chosen = readings.ever | scene.items.cold[None, :]
    popular = np.broadcast_to(scene.items.share + 1e-9 * scene.items.sums["ever"], chosen.shape)
    for values in (*scores.values(), popular):
        _add_best(chosen, np.where(allowed, values, -np.inf), each)
    return np.asarray(chosen & allowed)


def _add_best(chosen: BoolArray, values: FloatArray, each: int) -> None:
    count = min(each, chosen.shape[1])
    # Stable: of equal scores the first items, whatever the rows beside.
    best = np.argsort(-values, axis=1, kind="stable")[:, :count]
    np.put_along_axis(chosen, best, True, axis=1)


def features(
    readings: Readings, scene: Scene, scores: dict[str, FloatArray], owner: IntArray, item: IntArray
) -> dict[str, FloatArray]:
    """Return the features of chosen pairs by name, each (pairs,)."""
    pair = (owner, item)
    short, long = readings.short, readings.long
    total = long.sum(axis=1)
    figures = scene.items.figures()
    member = scene.catalogue.parents()
    parent = scene.catalogue.parent[item]
    of_parent, of_parent_short = long @ member, short @ member
    gap, since = readings.gap[pair], readings.since_last[pair]
    windows = readings.windows.sum(axis=0)
    newly = readings.windows[0] & (readings.since_first < readings.horizon)
    share = np.nan_to_num(figures["item_share_6"]) @ member / np.maximum(member.sum(axis=0), 1)
    again = figures["item_again"] @ member / np.maximum(member.sum(axis=0), 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "lines_1": readings.lines[0][pair], "lines_3": readings.lines[1][pair], "lines_6": readings.lines[2][pair],
            "days": readings.days[pair], "since_last": since, "since_first": readings.since_first[pair],
            "gap": gap, "due": since / gap, "item_due": since / figures["item_gap"][item],
            "short": short[pair], "long": long[pair], "own_share": long[pair] / total[owner],
            "windows": windows[pair].astype(np.float64), "window_0": readings.windows[0][pair].astype(np.float64),
            "window_1": readings.windows[1][pair].astype(np.float64), "spend": readings.spend[pair],
            "visits_1": readings.visits[0][owner], "visits_3": readings.visits[1][owner],
            "visits_6": readings.visits[2][owner], "visited_last": readings.visited_last[owner],
            "visited_first": readings.visited_first[owner], "variety": (windows > 0).sum(axis=1)[owner].astype(float),
            "cold": scene.items.cold[item].astype(np.float64),
            "variety_1": readings.windows[0].sum(axis=1)[owner].astype(float),
            "tries": newly.sum(axis=1)[owner].astype(float), "owner_long": total[owner],
            **{name: values[item] for name, values in figures.items()},
            "parent_long": of_parent[owner, parent], "parent_short": of_parent_short[owner, parent],
            "parent_own_share": of_parent[owner, parent] / total[owner],
            "parent_others": (of_parent[owner, parent] - long[pair]),
            "parent_item_share": share[parent], "parent_again": again[parent],
            **{name: values[pair] for name, values in scores.items()},
        }  # fmt: skip
