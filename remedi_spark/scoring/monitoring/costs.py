"""What the drift of each feature costs: buyers that the list loses if the drift is an error of its source.

Some of the scored rows are scored once more with one drifted feature moved back to its distribution at training
(:mod:`remedi_spark.scoring.monitoring.healthy`). If those probabilities are the true ones, today's order of the rows
holds fewer buyers than theirs: the difference is the cost. A feature that the model hardly reads may drift for nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from pyspark.sql import functions as F

from remedi_spark.columns import OWNER
from remedi_spark.maths.ranking import expected_average_precision
from remedi_spark.scoring.bundle import Bundle, BundleParts
from remedi_spark.scoring.monitoring.distribution import Array, Distribution
from remedi_spark.scoring.monitoring.healthy import restored
from remedi_spark.scoring.one_change import scores_of_changes
from remedi_spark.spark.kept import shared

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

SAMPLE = 2_000
"""Rows whose distribution and present scores are looked at, about."""
RESCORED = 600
"""Of them, those that are scored once more for each feature: twice the list, and some of all others by weight."""
FEATURES = 6
"""Features whose cost is told, those that have drifted most."""
_SEED = 31


@dataclass(frozen=True)
class Cost:
    """Shares that are lost to the drift of one feature, in [0, 1]."""

    feature: int
    recall: float
    ap: float


def costs(canonical: DataFrame, rows: int, parts: BundleParts, drifted: Sequence[int], share: float) -> list[Cost]:
    """Return what the drift of some features costs the list of the best ``share``, in their order.

    Args:
        canonical: owner_id, f0 … fn of the scored rows.
        rows: how many there are.
        parts: of the bundle, with the distribution at training.
        drifted: positions of the features.
        share: of the rows that are on the list, in (0, 1].
    """
    sent = shared(canonical.sparkSession, (parts, list(drifted), share))
    drawn = F.pmod(F.xxhash64(F.col(OWNER).cast("string"), F.lit(_SEED)), F.lit(1_000_003)) < F.lit(
        1_000_003 * min(1.0, SAMPLE / max(1, rows))
    )

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        local, features, budget = sent()
        bundle = Bundle(local)
        frames = [batch.select(bundle.contract.columns).to_pandas() for batch in batches]
        if frames:
            found = cost_of(bundle, pd.concat(frames, ignore_index=True), features, budget)
            columns = [[getattr(one, name) for one in found] for name in ("feature", "recall", "ap")]
            yield pa.RecordBatch.from_arrays(
                [pa.array(columns[0], pa.int32()), *(pa.array(one, pa.float64()) for one in columns[1:])],
                ["feature", "recall", "ap"],
            )

    sample = canonical.where(drawn).repartition(1)
    found = sample.mapInArrow(run, "feature int, recall double, ap double").collect()  # type: ignore[arg-type]
    return [Cost(row["feature"], row["recall"], row["ap"]) for row in found]


def cost_of(
    bundle: Bundle, frame: pd.DataFrame, features: Sequence[int], share: float, rescored: int = RESCORED
) -> list[Cost]:  # fmt: skip
    """Return the costs on rows under inside names, ``rescored`` of which, at most about, are scored once more."""
    assert bundle.parts.distribution is not None
    distribution = Distribution.from_dict(bundle.parts.distribution)
    now, rng = bundle.score(frame), np.random.default_rng(_SEED)
    chosen, weight = choose(now, share, rescored)
    # A value moves by its rank among all rows, so all are moved and the chosen ones are scored.
    moved = [restored(frame[f"f{one}"], one, bundle.encoder, distribution, rng)[chosen] for one in features]
    then = scores_of_changes(bundle, frame.iloc[chosen], dict(zip(features, moved, strict=True)))
    return [_cost(one, now[chosen], p, weight, share) for one, p in zip(features, then, strict=True)]


def choose(now: Array, share: float, wanted: int) -> tuple[npt.NDArray[np.intp], Array]:
    """Return rows to score once more, and how many rows each stands for.

    What a list loses is decided on it and just below it. The best rows are taken all, twice the list as far as half of
    the wanted rows go, and every other row at even steps down the order, so that each part of it is there.

    Args:
        now: scores, shape (n,).
        share: of the rows that are on the list, in (0, 1].
        wanted: rows, at most about.
    """
    order = np.argsort(-now, kind="stable")
    best = min(len(now), math.ceil(2 * share * len(now)), wanted // 2)
    rest, places = len(now) - best, min(len(now), wanted) - best
    if not rest:
        return order, np.ones(len(order))
    step = rest / places
    below = best + np.floor((np.arange(places) + 0.5) * step).astype(np.intp)
    return order[np.concatenate([np.arange(best), below])], np.concatenate([np.ones(best), np.full(places, step)])


def _cost(feature: int, now: Array, then: Array, weight: Array, share: float) -> Cost:
    k = max(1.0, share * weight.sum())
    best = _held(then, then, weight, k)
    ap = expected_average_precision(then, then, weight) if then.sum() else 0.0
    lost = (
        1 - _held(now, then, weight, k) / best if best else 0.0,
        1 - expected_average_precision(now, then, weight) / ap if ap else 0.0,
    )
    return Cost(feature, *(float(np.clip(one, 0, 1)) for one in lost))


def _held(scores: Array, p: Array, weight: Array, k: float) -> float:
    """Return how many positives the best rows of an order hold that stand for ``k``, expected."""
    order = np.argsort(-scores, kind="stable")
    before = np.cumsum(weight[order]) - weight[order]
    return float(np.clip(k - before, 0, weight[order]) @ p[order])
