"""Integrated gradients of a net along the straight path in embedding space."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from remedi_spark.models.nets.training import pooled

Array = npt.NDArray[np.float64]
_POINTS = 4
"""Quadrature points: a ReLU net is piecewise linear along the path."""


def integrated_gradients(net: Any, x: Array, *, pool: bool, batch: int = 1024) -> tuple[Array, Array]:
    """Return contributions by slot, shape (n, width), and the reference row's margin, shape (n,).

    Contributions of a row sum to its margin less the reference's; slots that the net does not read get 0.
    """
    slots = net.slots()
    with torch.no_grad():
        start = net.embed(torch.from_numpy(net.reference_row(x.shape[1])))
        base = float(pooled(net.from_fields(start).double(), pool))
    contributions = np.zeros(x.shape)
    for first in range(0, len(x), batch):
        part = slice(first, min(first + batch, len(x)))
        contributions[part, slots] = _batch(net, torch.from_numpy(x[part]), start, base, pool).numpy()
    return contributions, np.full(len(x), base)


def _batch(net: Any, x: Tensor, start: Tensor, base: float, pool: bool) -> Tensor:
    nodes, weights = np.polynomial.legendre.leggauss(_POINTS)
    with torch.no_grad():
        end = net.embed(x)
        change = pooled(net.from_fields(end).double(), pool) - base
    gradient = torch.zeros_like(end)
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        point = (start + float(node) * (end - start)).detach().requires_grad_()
        total = pooled(net.from_fields(point).double(), pool).sum()
        gradient += float(weight) * torch.autograd.grad(total, point)[0]
    by_field = ((end - start) * gradient).sum(-1).double()  # (n, fields)
    return _complete(by_field, change)


def _complete(by_field: Tensor, change: Tensor) -> Tensor:
    """Spread what quadrature left over in proportion to the size of the contributions."""
    size = by_field.abs()
    share = size / size.sum(1, keepdim=True).clamp_min(1e-12)
    return by_field + share * (change - by_field.sum(1)).unsqueeze(1)
