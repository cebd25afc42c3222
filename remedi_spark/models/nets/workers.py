"""What the workers of one torch fit say to one another; alone, a worker talks to itself."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch import distributed as dist


def rank() -> int:
    """Return this worker's number, 0 when alone."""
    return dist.get_rank() if dist.is_initialized() else 0


def sum_over_workers(values: Tensor) -> Tensor:
    """Return the sum of a tensor over all workers; every worker must call this together."""
    if dist.is_initialized():
        dist.all_reduce(values)
    return values


def gather(value: Any) -> list[Any]:
    """Return every worker's value, by rank."""
    if not dist.is_initialized():
        return [value]
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values
