"""Tasks as tensors: the support rows that a task adapts on, the query rows that judge the adapted parameters.

The tasks of a batch are stacked so that ``torch.func.vmap`` runs them side by side. Rows with weight 0 are padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Rows(NamedTuple):
    """Rows of one task, or with one more leading dimension of several tasks."""

    x: Tensor
    """Inputs, shape (rows, …)."""
    y: Tensor
    """Targets, shape (rows,)."""
    weight: Tensor
    """Shape (rows,), 0 or more."""


class Task(NamedTuple):
    """One task, or several stacked ones."""

    support: Rows
    query: Rows


def stack_tasks(tasks: Sequence[Task]) -> Task:
    """Stack tasks of any sizes along a new first dimension, shorter ones padded by rows of weight 0."""
    return Task(_stack([task.support for task in tasks]), _stack([task.query for task in tasks]))


def join_rows(first: Rows, second: Rows) -> Rows:
    """Put the rows of each task of two stacks one below the other: (tasks, a, …) and (tasks, b, …) to a + b."""
    return Rows(*(torch.cat(pair, dim=1) for pair in zip(first, second, strict=True)))


def _stack(parts: Sequence[Rows]) -> Rows:
    longest = max(len(part.y) for part in parts)
    return Rows(*(torch.stack([_pad(part[i], longest) for part in parts]) for i in range(len(Rows._fields))))


def _pad(values: Tensor, rows: int) -> Tensor:
    missing = rows - len(values)
    return torch.cat([values, values.new_zeros(missing, *values.shape[1:])]) if missing else values
