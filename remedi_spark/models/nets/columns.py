"""Encoded rows as standardised columns, for whatever is linear in them: principal components, a linear term."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from remedi_spark.models.nets.inputs import InputStats

LIMIT = 5.0
"""Largest standardised value: a column that is nearly always the same must not outweigh the others where it is not."""


class StandardColumns(nn.Module):
    """Map encoded rows (n, width) to standardised columns (n, columns), in doubles.

    A number x becomes sign(x) log(1 + |x|), which suits counts and amounts; a code one column a level. Columns are
    centred, divided by their scale and clipped to ±``LIMIT``; a null becomes 0, the mean.

    Args:
        stats: says which slots are numbers and which are codes.
        mean, scale: of each raw column; None: 0 and 1.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, stats: InputStats, mean: list[float] | None = None, scale: list[float] | None = None) -> None:
        super().__init__()
        self._numbers, self._codes, self._cardinalities = stats.numbers, stats.codes, stats.cardinalities
        fields = list(range(len(stats.numbers)))
        for field, size in enumerate(stats.cardinalities, start=len(stats.numbers)):
            fields += [field] * size
        self.fields = torch.tensor(fields)
        """Field of each column, shape (columns,)."""
        self.register_buffer("mean", torch.tensor(mean or [0.0] * len(fields), dtype=torch.float64))
        self.register_buffer("scale", torch.tensor(scale or [1.0] * len(fields), dtype=torch.float64))

    def raw(self, x: Tensor) -> Tensor:
        """Return the columns before standardisation, NaN for null: (n, width) -> (n, columns)."""
        numbers = x[:, self._numbers]
        parts = [numbers.sign() * numbers.abs().log1p()]
        for slot, size in zip(self._codes, self._cardinalities, strict=True):
            parts.append(nn.functional.one_hot(x[:, slot].long(), size).double())
        return torch.cat(parts, dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the standardised columns: (n, width) -> (n, columns)."""
        standard = (self.raw(x) - self.mean) / self.scale
        return torch.nan_to_num(standard, nan=0.0, posinf=LIMIT, neginf=-LIMIT).clamp(-LIMIT, LIMIT)
