"""What a task does with one block of owners: rows of ``guide_history`` in, sums, pairs, tests or lists out.

Everything here is pandas and numpy on one block; :mod:`remedi_spark.guides.passes` puts it on Spark.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from remedi_spark.guides.maths.history import BoolArray, History, Readings, read
from remedi_spark.guides.maths.items import COUNTS, item_sums
from remedi_spark.guides.maths.pairs import Scene, candidates, cheap_scores, features
from remedi_spark.guides.maths.views import View, in_sample, kept_negatives
from remedi_spark.maths.checks import FloatArray, IntArray

EVERYBODY = -1
"""Stands for the item in the row of sums whose first number is how many owners are known."""


@dataclass(frozen=True, eq=False)
class Block:
    """Some owners: their history, ids (n,) and the day from which each is known (n,)."""

    history: History
    ids: np.ndarray[tuple[int], np.dtype[np.object_]]
    since: IntArray

    @classmethod
    def of(cls, frame: pd.DataFrame, items: int) -> Block:
        """Take it from rows of ``guide_history``, whose order is of no account."""
        ids, owner = np.unique(frame["owner_id"].to_numpy(dtype=str), return_inverse=True)
        since = np.full(len(ids), np.iinfo(np.int64).max)
        np.minimum.at(since, owner, frame["known"].to_numpy(dtype=np.int64))
        keys = np.zeros(len(ids), dtype=np.int64)
        keys[owner] = frame["key"].to_numpy(dtype=np.int64)
        bought = frame["item"].notna().to_numpy()
        rows = frame[bought]
        whole = [owner[bought], *(rows[name].to_numpy(dtype=np.int64) for name in ("item", "day", "known"))]
        # Sums of fractions depend on the order of the rows, which Spark does not keep.
        order = np.lexsort(whole[::-1])
        lines, amount = (rows[name].to_numpy(dtype=np.float64)[order] for name in ("lines", "amount"))
        owned, item, day, known = (one[order] for one in whole)
        history = History(keys, items, owned, item, day, known, lines, amount)
        return cls(history, ids.astype(object), since)

    def of_share(self, share: float) -> Block:
        """Return the owners of a sample of about this share."""
        history, kept = self.history, in_sample(self.history.keys, share)
        if kept.all():
            return self
        rows = history.where(kept[history.owner])
        place = np.cumsum(kept) - 1
        return Block(replace(rows, keys=history.keys[kept], owner=place[rows.owner]), self.ids[kept], self.since[kept])


@dataclass(frozen=True, eq=False)
class Seen:
    """A view with what is known of all owners at it."""

    view: View
    buyers: FloatArray
    """Buyers of each item known at t, shape (I,)."""
    sample: float
    """Share of the owners in the sample of the recommenders."""

    def read(self, block: Block, horizon: int) -> Readings:
        """Read what a block shows at t."""
        return read(self.view.seen(block.history, self.buyers, self.sample), self.view.t, horizon)


def sums_of(frame: pd.DataFrame, items: int, horizon: int, seen: Sequence[Seen]) -> pd.DataFrame:
    """Return view (its place), item and the block's part of the sums, a column each."""
    block = Block.of(frame, items)
    parts = []
    for place, one in enumerate(seen):
        sums = item_sums(one.read(block, horizon))
        known = np.zeros((1, len(COUNTS)), dtype=np.int64)
        known[0, 0] = int((block.since <= one.view.t).sum())
        part = pd.DataFrame(np.vstack([sums, known]), columns=list(COUNTS))
        part.insert(0, "item", [*range(items), EVERYBODY])
        part.insert(0, "view", place)
        parts.append(part)
    return pd.concat(parts)


@dataclass(frozen=True, eq=False)
class Pairs:
    """Chosen pairs of a block at one view."""

    readings: Readings
    owner: IntArray
    item: IntArray
    x: dict[str, FloatArray]
    scores: dict[str, FloatArray]
    """Of all pairs, (n, I)."""

    def matrix(self) -> FloatArray:
        """Return the features, shape (pairs, width)."""
        return np.column_stack(list(self.x.values()))


def pairs_at(
    block: Block, seen: Seen, scene: Scene, horizon: int, each: int, allowed: BoolArray,
    chosen: BoolArray | None = None,
) -> Pairs:  # fmt: skip
    """Return the candidates of a block with their features.

    Args:
        block: the owners.
        seen: the view.
        scene: what is known besides.
        horizon: in days.
        each: candidates of each cheap score.
        allowed: (n, I): pairs that may be candidates.
        chosen: (n, I): of the candidates only these; None: all.
    """
    readings = seen.read(block, horizon)
    scores = cheap_scores(readings, scene)
    mask = candidates(readings, scene, scores, each, allowed)
    if chosen is not None:
        mask &= chosen
    owner, item = np.nonzero(mask)
    return Pairs(readings, owner, item, features(readings, scene, scores, owner, item), scores)


def allowed_at(block: Block, seen: Seen) -> BoolArray:
    """Return the pairs that a learning or test view is about, (n, I): owners known at t; hidden items, if any.

    Not the buyers that a hidden item shows: they are what is known of it.
    """
    known = np.repeat((block.since <= seen.view.t)[:, None], block.history.items, axis=1)
    if not seen.view.shown:
        return np.asarray(known)
    shown = seen.view.shown_pairs(block.history, seen.buyers, seen.sample)
    ever = block.history.until(seen.view.t).add_up() > 0
    return np.asarray(known & seen.view.hidden(block.history.items)[None, :] & ~(shown & ever))


def training_pairs(
    frame: pd.DataFrame, items: int, horizon: int, seen: Seen, scene: Scene, each: int, fitted: float, kept: float
) -> pd.DataFrame:
    """Return owner_id, item, target and x of all bought candidates and a share ``kept`` of the others.

    ``fitted``: share of the owners that are learned from.
    """
    block = Block.of(frame, items).of_share(fitted)
    label = block.history.bought(seen.view.t, seen.view.t + horizon)
    chosen = label | kept_negatives(block.history.keys, items, seen.view, kept)
    found = pairs_at(block, seen, scene, horizon, each, allowed_at(block, seen), chosen=chosen)
    return pd.DataFrame(
        {
            "owner_id": block.ids[found.owner], "item": found.item.astype(np.int32),
            "target": label[found.owner, found.item].astype(np.float64), "x": list(found.matrix()),
        }
    )  # fmt: skip
