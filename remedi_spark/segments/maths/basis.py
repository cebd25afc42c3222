"""Principal components of the inputs: a few numbers that say what kind of owner a row is, whatever the segment.

A handful of positives cannot tell hundreds of weights. It can tell something about a weight on each of the directions
in which owners differ most. Source: principal component regression (Jolliffe, *Principal Component Analysis*, 2nd
edition, chapter 8).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from remedi_spark.models.nets.columns import StandardColumns
from remedi_spark.models.nets.inputs import InputStats
from remedi_spark.models.nets.workers import sum_over_workers
from remedi_spark.segments.maths.segments import SegmentRows

Array = npt.NDArray[np.float64]
_BATCH = 8192
_SMALLEST = 1e-6
"""Components with less than this share of the variance are rounding."""


@dataclass(frozen=True)
class Basis:
    """Whitened principal components of standardised columns.

    Attributes:
        columns: of an encoded row.
        components: (columns, dims).
        center: (dims,); over the learning rows, scores have mean 0, variance 1 and no correlation.
    """

    columns: StandardColumns
    components: Array
    center: Array

    @property
    def dims(self) -> int:
        """Number of components."""
        return int(self.components.shape[1])

    def design(self, x: Array) -> Array:
        """Return a one and the scores of each encoded row: (n, width) -> (n, 1 + dims)."""
        parts = [
            np.column_stack([np.ones(len(some)), self.columns(some).numpy() @ self.components - self.center])
            for some in _batches(x)
        ]
        return np.concatenate(parts) if parts else np.empty((0, 1 + self.dims))

    def as_linear_term(self, head: Array) -> tuple[Array, float]:
        """Return the weights of the columns and the bias that equal a head (1 + dims,) on :meth:`design`."""
        return self.components @ head[1:], float(head[0] - self.center @ head[1:])

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able form; which slots the columns read is in the net's specification."""
        return {
            "mean": self.columns.mean.tolist(), "scale": self.columns.scale.tolist(),
            "components": self.components.tolist(), "center": self.center.tolist(),
        }  # fmt: skip

    @classmethod
    def from_dict(cls, tree: dict[str, Any], stats: InputStats) -> Basis:
        """Rebuild from :meth:`to_dict`; ``stats``: of the net whose inputs these are."""
        columns = StandardColumns(stats, tree["mean"], tree["scale"])
        return cls(columns, np.asarray(tree["components"]), np.asarray(tree["center"]))


def fit_basis(rows: Sequence[SegmentRows], stats: InputStats, dims: int) -> Basis:
    """Fit on this worker's rows, weighted, and those of all others; every worker must call this together.

    Args:
        rows: of learning segments, perhaps none.
        stats: of the net whose inputs are read.
        dims: most components; fewer when the columns do not vary in so many directions.
    """
    columns = _standardised(rows, stats)
    size = len(columns.fields)
    sums = torch.zeros(1 + size + size * size, dtype=torch.float64)
    for x, weight in _weighted(rows):
        values = columns(x)
        weighted = values * weight.unsqueeze(1)
        sums += torch.cat([weight.sum().view(1), weighted.sum(0), (weighted.T @ values).flatten()])
    total, first, second = torch.split(sum_over_workers(sums), [1, size, size * size])
    mean = (first / total).numpy()
    covariance = (second / total).view(size, size).numpy() - np.outer(mean, mean)
    variance, vectors = np.linalg.eigh(covariance)
    kept = np.flatnonzero(variance > _SMALLEST * variance.sum())[::-1][:dims]
    components = vectors[:, kept] / np.sqrt(variance[kept])
    components *= np.where(components.sum(0) < 0, -1.0, 1.0)
    return Basis(columns, components, mean @ components)


def _standardised(rows: Sequence[SegmentRows], stats: InputStats) -> StandardColumns:
    columns = StandardColumns(stats)
    sums = torch.zeros(3, len(columns.fields), dtype=torch.float64)
    for x, weight in _weighted(rows):
        raw = columns.raw(x)
        known = weight.unsqueeze(1) * ~raw.isnan()
        values = raw.nan_to_num()
        sums += torch.stack([known.sum(0), (known * values).sum(0), (known * values.square()).sum(0)])
    known, first, second = sum_over_workers(sums)
    known = known.clamp_min(1e-12)
    mean = first / known
    scale = (second / known - mean.square()).clamp_min(0).sqrt()
    scale = torch.where(scale > 1e-9, scale, 1.0)
    return StandardColumns(stats, mean.tolist(), scale.tolist())


def _weighted(rows: Sequence[SegmentRows]) -> Iterator[tuple[Tensor, Tensor]]:
    for one in rows:
        for x, weight in zip(_batches(one.x), _batches(one.weight), strict=True):
            yield x, weight.double()


def _batches(values: Array) -> Iterator[Tensor]:
    for start in range(0, len(values), _BATCH):
        yield torch.from_numpy(np.ascontiguousarray(values[start : start + _BATCH]))
