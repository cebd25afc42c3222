"""Record a function of tensors once a shape, then run the record.

Nested ``torch.func`` transforms cost Python time on every operation, more than the arithmetic of small nets. The record
holds plain tensor operations and computes the same numbers; it needs no compiler.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree as pytree

T = TypeVar("T")
_SHAPES = 4
"""Records kept: a source whose shapes vary all the time would record for ever, and runs unrecorded instead."""


def traced(function: Callable[..., T]) -> Callable[..., T]:
    """Return ``function`` recorded by shape; its course must not depend on the values of its arguments."""
    records: dict[Any, Callable[..., T]] = {}

    def run(*arguments: Any) -> T:
        leaves = pytree.tree_leaves(arguments)
        key = tuple((leaf.shape, leaf.dtype) for leaf in leaves)
        with torch.no_grad():  # torch.func differentiates all the same; nothing else needs a graph
            if key in records:
                return records[key](*arguments)
            if len(records) >= _SHAPES:
                return function(*arguments)
            records[key] = make_fx(function)(*arguments)
            return records[key](*arguments)

    return run
