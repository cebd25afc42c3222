"""Test lists and the owners' lists, of one block of owners."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from remedi_spark.guides.blocks import Block, Pairs, Seen, allowed_at, pairs_at
from remedi_spark.guides.maths.history import BoolArray
from remedi_spark.guides.maths.measure import best_items, list_measures
from remedi_spark.guides.maths.pairs import Scene
from remedi_spark.guides.maths.recommend import presence, profile
from remedi_spark.guides.maths.views import uniform
from remedi_spark.maths.calibrators import calibrator_from_dict
from remedi_spark.maths.checks import FloatArray
from remedi_spark.models.lightgbm.predict import LightGBMPredictor
from remedi_spark.storage.fitted import Fitted

METHODS = ("guide", "popular", "frequency", "tifu_knn", "ease", "content")
MEASURES = ("ndcg", "recall", "hit_rate", "novelty")
ACTIVITY = (0, 6, 15)
"""Owners by days with an event in the last six horizons: none, up to 6, up to 15, more."""
TEST_SCHEMA = "kind string, part string, owner_id string, a int, b int, values array<double>"
LIST_SCHEMA = "owner_id string, rank int, item int, score double, why string, new_to_owner boolean"
_PAIR = 9


@dataclass(frozen=True, eq=False)
class Plan:
    """What tests and lists have in common."""

    items: int
    horizon: int
    each: int
    top_n: int
    shown: BoolArray
    """Items that may be in a list, shape (I,)."""
    model: Fitted


def margins(found: Pairs, model: Fitted, shape: tuple[int, int]) -> FloatArray:
    """Return the model's margin of each pair, (n, I); -inf where it is no candidate."""
    scores = np.full(shape, -np.inf)
    scores[found.owner, found.item] = LightGBMPredictor(model)(found.matrix()) + model.shift
    return scores


def test_block(
    frame: pd.DataFrame, plan: Plan, seen: Seen, scene: Scene, fitted: float, sampled: float
) -> pd.DataFrame:
    """Return, of the sampled owners, measures of their lists, the items in these, and pairs to calibrate with.

    Rows ``owner``: a = group by activity, values = measures by method. ``shown``: a = method, b = item. ``pair``:
    values = margin, label.
    """
    block = Block.of(frame, plan.items).of_share(fitted)
    if not len(block.ids):
        return pd.DataFrame(columns=["kind", "part", "owner_id", "a", "b", "values"])
    label = block.history.bought(seen.view.t, seen.view.t + plan.horizon)
    allowed = allowed_at(block, seen)
    found = pairs_at(block, seen, scene, plan.horizon, plan.each, allowed)
    own = margins(found, plan.model, label.shape)
    rows = [_to_calibrate(own, label, block, seen, sampled)]
    scores = {"guide": own, **peers(found, scene)}
    allowed = allowed & plan.shown
    # The list's length is a promise to the owner; the measures are of the best ten whatever it is.
    parts = {"cold": allowed} if seen.view.shown else {
        "all": allowed, "discovery": allowed & ~found.readings.windows.any(axis=0)
    }  # fmt: skip
    share = scene.items.sums["ever"] / max(scene.items.owners, 1)
    group = np.searchsorted(ACTIVITY, found.readings.visits[-1])
    for part, mask in parts.items():
        values = []
        for method, name in enumerate(METHODS):
            lists = best_items(scores[name], mask, 10)
            values.append(list_measures(lists, label, mask, share))
            held = np.unique(lists[lists >= 0])
            rows.append(pd.DataFrame({"kind": "shown", "part": part, "owner_id": None, "a": method, "b": held}))
        measured = np.concatenate(values)  # (methods x measures, owners)
        known = np.isfinite(measured[0])
        rows.append(
            pd.DataFrame(
                {
                    "kind": "owner", "part": part, "owner_id": block.ids[known], "a": group[known], "b": 0,
                    "values": list(np.nan_to_num(measured[:, known].T)),
                }
            )
        )  # fmt: skip
    return _typed(pd.concat(rows))


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    held = [value if isinstance(value, np.ndarray) else None for value in frame["values"]]
    frame = frame.assign(values=pd.Series(held, index=frame.index, dtype=object))
    return frame.astype({"a": "int32", "b": "int32"})[["kind", "part", "owner_id", "a", "b", "values"]]


def _to_calibrate(own: FloatArray, label: BoolArray, block: Block, seen: Seen, share: float) -> pd.DataFrame:
    chosen = uniform(_PAIR, seen.view.t, block.history.keys[:, None], np.arange(own.shape[1])[None, :]) < share
    owner, item = np.nonzero(np.isfinite(own) & chosen)
    values = np.column_stack([own[owner, item], label[owner, item]])
    part = "cold" if seen.view.shown else "all"
    return pd.DataFrame(
        {"kind": "pair", "part": part, "owner_id": block.ids[owner], "a": item, "b": 0, "values": list(values)}
    )


def peers(found: Pairs, scene: Scene) -> dict[str, FloatArray]:
    """Return the scores of simple recommenders, (n, I), beside which the guide is measured."""
    own = profile(found.readings)
    unit = own / np.maximum(np.linalg.norm(own, axis=1, keepdims=True), 1e-12)
    popular = np.broadcast_to(scene.items.share + 1e-9 * scene.items.sums["ever"], own.shape)
    return {
        "popular": popular, "frequency": found.readings.long,
        "tifu_knn": 0.7 * unit + 0.3 * found.scores["neighbours"],
        "ease": found.scores["ease"], "content": found.scores["content"],
    }  # fmt: skip


def list_block(
    frame: pd.DataFrame, plan: Plan, seen: Seen, scene: Scene, calibrators: dict[str, Any], names: tuple[str, ...],
    discovery: bool, active: int | None,
) -> pd.DataFrame:  # fmt: skip
    """Return the lists of a block's owners, in the columns of :data:`LIST_SCHEMA`."""
    block = Block.of(frame, plan.items)
    allowed = np.repeat((block.since <= seen.view.t)[:, None], plan.items, axis=1) & plan.shown
    readings = seen.read(block, plan.horizon)
    if discovery:
        allowed &= ~readings.windows.any(axis=0)
    if active is not None:
        allowed &= (np.nan_to_num(readings.visited_last, nan=np.inf) < active)[:, None]
    found = pairs_at(block, seen, scene, plan.horizon, max(plan.each, plan.top_n), allowed)
    own = margins(found, plan.model, allowed.shape)
    cold = scene.items.cold
    score = np.full(own.shape, -np.inf)
    for part, columns in (("all", ~cold), ("cold", cold)):
        if columns.any():
            held = np.isfinite(own[:, columns])
            mapped = calibrator_from_dict(calibrators[part])(np.where(held, own[:, columns], 0.0))
            score[:, columns] = np.where(held, mapped, -np.inf)
    lists = best_items(score, allowed, plan.top_n)
    owner, place = np.nonzero(lists >= 0)
    item = lists[owner, place]
    return pd.DataFrame(
        {
            "owner_id": block.ids[owner], "rank": (place + 1).astype(np.int32), "item": item.astype(np.int32),
            "score": score[owner, item], "why": reasons(found, scene, owner, item, names),
            "new_to_owner": ~found.readings.ever[owner, item],
        }
    )  # fmt: skip


def reasons(found: Pairs, scene: Scene, owner: Any, item: Any, names: tuple[str, ...]) -> pd.Series[str]:
    """Return a sentence for each pair: what in the owner's history, or in the item's, speaks for it."""
    r, labels = found.readings, np.array(names, dtype=object)

    def whole(values: FloatArray) -> pd.Series[str]:
        return pd.Series(np.rint(np.nan_to_num(values))).astype("int64").astype(str)

    days, last, gap = r.days[owner, item], r.since_last[owner, item], r.gap[owner, item]
    share = scene.items.share[item]
    everybody = whole(100 * share) + " % of all owners bought it in the last " + str(r.horizon) + " days"
    usual = "bought on " + whole(days) + " days, the last one " + whole(last) + " days ago, about every " + whole(gap)
    once = "bought once, " + whole(last) + " days ago"
    like = _because(presence(r), owner, scene.recommenders.ease, item)
    near = _because(presence(r), owner, scene.catalogue.similar, item)
    goes = "goes with " + pd.Series(labels[np.maximum(like, 0)]) + ", which the owner buys"
    alike = "like " + pd.Series(labels[np.maximum(near, 0)]) + ", which the owner buys"
    nothing = ~np.asarray(r.ever.any(axis=1))[owner]
    cold = scene.items.cold[item]
    return pd.Series(
        np.select(
            [nothing, days > 1, days > 0, cold & (near >= 0), cold, like >= 0],
            ["no purchases known yet; " + everybody, usual + " days", once, "new; " + alike,
             pd.Series(["new; few owners have bought it yet"] * len(item)), goes],
            everybody,
        )
    )  # fmt: skip


def _because(history: FloatArray, owner: Any, weights: FloatArray, item: Any) -> Any:
    """Return the item of the owner's history that adds most to the score of each pair; -1 where none adds."""
    added = history[owner] * weights[:, item].T
    best = added.argmax(axis=1)
    return np.where(np.take_along_axis(added, best[:, None], axis=1)[:, 0] > 0, best, -1)
