"""What is usual of each feature: the median of the training rows, or the most frequent level of a category.

Medians come from the bins that monitoring keeps of the training rows; a bundle without these bins knows none.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import pandas as pd

from remedi_spark.maths.drift import median_of_bins
from remedi_spark.samples.encoder import NULL_LEVEL, Encoder


class Usual(NamedTuple):
    """A usual value under inside names, None for null; ``known`` is false where nothing tells it."""

    value: Any
    known: bool = True


_UNKNOWN = Usual(None, known=False)


def usual_values(encoder: Encoder, distribution: dict[str, Any] | None) -> list[Usual]:
    """Return what is usual, by feature.

    Args:
        encoder: the fitted encoder.
        distribution: of the training rows, as the bundle keeps it; None: unknown.
    """
    return [
        _level(encoder.levels[i].names) if feature.kind == "category" else _number(distribution, i)
        for i, feature in enumerate(encoder.contract.features)
    ]


def usual_owner(encoder: Encoder, distribution: dict[str, Any] | None) -> pd.DataFrame:
    """Return the owner in whom all is usual, as one row under inside names; null where that is unknown."""
    values = [one.value for one in usual_values(encoder, distribution)]
    kinds = [object if feature.kind == "category" else float for feature in encoder.contract.features]
    columns = zip(encoder.contract.columns, values, kinds, strict=True)
    return pd.DataFrame({name: pd.Series([value], dtype=kind) for name, value, kind in columns})


def _level(names: tuple[str, ...]) -> Usual:
    if not names:
        return _UNKNOWN
    return Usual(None if names[0] == NULL_LEVEL else names[0])


def _number(distribution: dict[str, Any] | None, feature: int) -> Usual:
    if distribution is None:
        return _UNKNOWN
    counts = distribution["counts"][feature]
    if 2 * counts[-1] > sum(counts):
        return Usual(None)
    median = median_of_bins(distribution["edges"][feature], counts)
    return _UNKNOWN if median is None else Usual(median)
