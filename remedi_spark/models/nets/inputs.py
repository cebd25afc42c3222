"""Encoded rows to embedded fields: piecewise-linear numeric embeddings and level embeddings.

Numeric embeddings follow Gorishniy et al., "On Embeddings for Numerical Features in Tabular Deep Learning"
(arXiv 2203.05556), by the authors' own package.
"""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from rtdl_num_embeddings import PiecewiseLinearEmbeddings
from torch import Tensor, nn

from remedi_spark.samples.layout import Layout

Array = npt.NDArray[np.float64]
_LARGEST = 1e30
"""Numbers are clipped here: beyond it a float32, or a standard deviation, overflows."""
_FINER = 8
"""Quantiles looked at for every edge kept."""


@dataclass(frozen=True)
class InputStats:
    """What the input layer must know of the training rows; JSON-able.

    Attributes:
        numbers: slots read as numbers; slots that are constant in training are left out.
        center, scale: standardisation of each number; a null becomes the center (the training median).
        edges: bin edges of each standardised number, ascending; values outside are clipped to the outer edges, so
            that a value never seen in training is never extrapolated.
        missing: whether each number was ever null in training; if so null has an embedding of its own.
        codes: slots that hold level codes.
        cardinalities: number of codes of each, the one for unseen levels included.
    """

    numbers: list[int]
    center: list[float]
    scale: list[float]
    edges: list[list[float]]
    missing: list[bool]
    codes: list[int]
    cardinalities: list[int]

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able form."""
        return asdict(self)

    @classmethod
    def measure(cls, x: Array, layout: Layout, n_bins: int) -> InputStats:
        """Measure encoded training rows of shape (rows, layout.width)."""
        numbers, center, scale, edges, missing = [], [], [], [], []
        for slot in layout.where("number", "frequency", "made", "target"):
            values = x[:, slot]
            known = np.clip(values[~np.isnan(values)], -_LARGEST, _LARGEST)
            cuts = _edges(known, n_bins)
            if len(cuts) < 2:
                continue
            middle, spread = float(np.median(known)), float(np.std(known)) or 1.0
            numbers.append(slot)
            center.append(middle)
            scale.append(spread)
            edges.append(((cuts - middle) / spread).tolist())
            missing.append(bool(known.size < values.size))
        codes = layout.where("code")
        cardinalities = [layout.slots[slot].cardinality for slot in codes]
        return cls(numbers, center, scale, edges, missing, codes, cardinalities)


class TabularInput(nn.Module):
    """Embed encoded rows: (n, layout.width) float64 -> (n, fields, dim) float32."""

    center: Tensor
    scale: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, stats: InputStats, dim: int) -> None:
        super().__init__()
        self.fields = len(stats.numbers) + len(stats.codes)
        self.dim = dim
        if not self.fields:
            raise ValueError("no field to embed: every slot is constant in the training rows")
        self._numbers = stats.numbers
        self._codes = stats.codes
        self.register_buffer("center", torch.tensor(stats.center, dtype=torch.float64))
        self.register_buffer("scale", torch.tensor(stats.scale, dtype=torch.float64))
        edges = [torch.tensor(cuts, dtype=torch.float32) for cuts in _distinct(stats.edges)]
        self.register_buffer("low", torch.tensor([cuts[0] for cuts in edges]))
        self.register_buffer("high", torch.tensor([cuts[-1] for cuts in edges]))
        self.numeric = _piecewise_linear(edges, dim) if edges else None
        self.null = nn.Parameter(torch.zeros(len(stats.numbers), dim))
        self._cardinalities = stats.cardinalities
        levels = [nn.Embedding(size, dim) for size in stats.cardinalities]
        for table in levels:
            nn.init.normal_(table.weight, std=dim**-0.5)
        self.levels = nn.ModuleList(levels)

    def forward(self, x: Tensor) -> Tensor:
        """Embed: (n, width) -> (n, fields, dim)."""
        parts = []
        if self.numeric is not None:
            standard, null = self._standard(x)
            parts.append(self.numeric(standard) + null.unsqueeze(-1) * self.null)
        for slot, table in zip(self._codes, self.levels, strict=True):
            parts.append(table(x[:, slot].long()).unsqueeze(1))
        return torch.cat(parts, dim=1)

    def design(self, x: Tensor) -> list[Tensor]:
        """Return what the weights of a one-dimensional embedding multiply, each (n, columns): the cumulative
        piecewise-linear basis of all numbers, their null indicators, the levels one-hot.
        """
        parts = []
        if self.numeric is not None:
            standard, null = self._standard(x)
            parts += [self.numeric.impl(standard).flatten(1), null.float()]
        for slot, size in zip(self._codes, self._cardinalities, strict=True):
            parts.append(nn.functional.one_hot(x[:, slot].long(), size).float())
        return parts

    def set_weights(self, weights: Tensor) -> None:
        """Take the parameters of a one-dimensional embedding from one weight a column of :meth:`design`."""
        places: list[Tensor] = [self.null, *self.levels.parameters()]
        if self.numeric is not None:
            straight, curves = self.numeric.linear0, self.numeric.linear
            for part in straight.parameters():  # the basis holds every straight line
                nn.init.zeros_(part)
            places.insert(0, curves.weight)
        for place, part in zip(places, torch.split(weights, [place.numel() for place in places]), strict=True):
            place.copy_(part.view_as(place))

    def _standard(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the numbers standardised and clipped to the outer bin edges, and which were null."""
        raw = x[:, self._numbers]
        null = torch.isnan(raw)
        standard = torch.where(null, 0.0, (raw - self.center) / self.scale).float()
        return torch.clamp(standard, self.low, self.high), null


def _edges(known: Array, n_bins: int) -> Array:
    """Return at most ``n_bins`` + 1 distinct edges, ascending.

    Drawn evenly from the distinct values of a finer quantile grid, so that a feature that is mostly zero spends its
    bins on the rest.
    """
    if not known.size:
        return known
    fine: Array = np.unique(np.quantile(known, np.linspace(0, 1, _FINER * n_bins + 1)))
    if len(fine) <= n_bins + 1:
        return fine
    kept: Array = fine[np.round(np.linspace(0, len(fine) - 1, n_bins + 1)).astype(int)]
    return kept


def _distinct(edges: list[list[float]]) -> list[list[float]]:
    """Drop edges that coincide in float32: the embedding needs strictly ascending ones."""
    return [np.unique(np.asarray(cuts, dtype=np.float32)).tolist() for cuts in edges]


def _piecewise_linear(edges: list[Tensor], dim: int) -> PiecewiseLinearEmbeddings:
    with warnings.catch_warnings():
        # A two-valued feature has one bin, which is just right for it.
        warnings.filterwarnings("ignore", message="The .* feature has just two bin edges")
        return PiecewiseLinearEmbeddings(edges, dim, activation=False, version="B")
