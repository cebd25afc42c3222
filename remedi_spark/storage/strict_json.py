"""Trees for JSON that other programs read: it has no NaN and no infinity, so what is not finite becomes null."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def finite(tree: Any) -> Any:
    """Return a tree of dicts, lists and plain values with None for every number that is not finite."""
    if isinstance(tree, dict):
        return {key: finite(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [finite(value) for value in tree]
    if isinstance(tree, np.ndarray | np.generic):
        return finite(tree.tolist())
    return None if isinstance(tree, float) and not math.isfinite(tree) else tree
