"""Boosted trees of all learning segments beside the net: their mean margin is what a head is added to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Trees:
    """LightGBM models by their texts; called with encoded rows (n, width) they return the mean margin, shape (n,)."""

    texts: tuple[str, ...]

    @cached_property
    def boosters(self) -> list[Any]:
        """The native models."""
        import lightgbm

        return [lightgbm.Booster(model_str=text) for text in self.texts]

    def __call__(self, x: Array) -> Array:
        """Return one margin a row."""
        if not len(x):
            return np.empty(0)
        margins = [booster.predict(x, raw_score=True, num_threads=1) for booster in self.boosters]
        return np.asarray(np.mean(margins, axis=0), dtype=np.float64)


@dataclass(frozen=True)
class CrossFitted:
    """Trees for new owners, and margins of the learning rows by trees that did not see their owner.

    Attributes:
        trees: of all folds.
        own: by segment that this worker holds, one margin a row.
    """

    trees: Trees
    own: Mapping[str, Array]
