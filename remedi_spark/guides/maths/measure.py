"""How good lists of items are for the owners that they are for."""

from __future__ import annotations

import numpy as np

from remedi_spark.guides.maths.history import BoolArray
from remedi_spark.maths.checks import FloatArray, IntArray


def best_items(scores: FloatArray, allowed: BoolArray, n: int) -> IntArray:
    """Return the n best allowed items of each owner, best first, shape (owners, n); -1 where there are no more.

    Of equal scores the first item comes first.
    """
    masked = np.where(allowed, scores, -np.inf)
    order = np.argsort(-masked, axis=1, kind="stable")[:, :n]
    order = np.where(np.isfinite(np.take_along_axis(masked, order, axis=1)), order, -1)
    missing = n - order.shape[1]
    return np.pad(order, ((0, 0), (0, max(missing, 0))), constant_values=-1).astype(np.int64)


def list_measures(lists: IntArray, bought: BoolArray, allowed: BoolArray, share: FloatArray) -> FloatArray:
    """Return NDCG, recall, hit rate and novelty of each owner's list, shape (4, owners).

    The first three are nan for an owner that bought none of what was allowed, the last one for an empty list.

    Args:
        lists: from :func:`best_items`, shape (owners, n).
        bought: what came true, shape (owners, I).
        allowed: what the list could have held, shape (owners, I).
        share: of the owners that have had the item, (I,); novelty is the mean of −log2 of it.
    """
    n = lists.shape[1]
    held = lists >= 0
    hits = np.take_along_axis(bought, np.maximum(lists, 0), axis=1) & held
    count = (bought & allowed).sum(axis=1)
    discount = 1 / np.log2(np.arange(2, n + 2))
    ideal = np.concatenate([[0.0], np.cumsum(discount)])[np.minimum(count, n)]
    surprise = -np.log2(np.maximum(share, 1e-6))[np.maximum(lists, 0)]
    with np.errstate(divide="ignore", invalid="ignore"):
        found = [
            (hits * discount).sum(axis=1) / ideal,
            hits.sum(axis=1) / count,
            np.where(count > 0, hits.any(axis=1), np.nan),
            (surprise * held).sum(axis=1) / held.sum(axis=1),
        ]
    return np.stack(found).astype(np.float64)
