"""Trees for JSON that other programs read: it has no NaN and no infinity, so what is not finite becomes null."""

from __future__ import annotations

import math
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

Number = float | None
"""A finite number, or ``None`` where it is undefined or was not measured."""
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Count = Annotated[int, Field(ge=0)]


def finite(tree: Any) -> Any:
    """Return a tree of dicts, lists and plain values with None for every number that is not finite."""
    if isinstance(tree, dict):
        return {key: finite(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [finite(value) for value in tree]
    if isinstance(tree, np.ndarray | np.generic):
        return finite(tree.tolist())
    return None if isinstance(tree, float) and not math.isfinite(tree) else tree


class Record(BaseModel):
    """A frozen, strictly keyed piece of such a tree, which goes to JSON and back without loss.

    Numpy scalars and arrays are accepted wherever a number or a list is.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _finite(cls, values: Any) -> Any:
        return finite(values)

    def require_equal_lengths(self, *names: str) -> None:
        """Refuse lists that have not one entry each a point."""
        lengths = {name: len(getattr(self, name)) for name in names}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"{type(self).__name__}: found lengths {lengths}, required: one entry each a point")
