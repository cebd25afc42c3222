"""What other programs read is JSON as the standard has it."""

from __future__ import annotations

import json

import numpy as np

from remedi_spark.storage.strict_json import finite


def test_what_is_not_finite_is_null_at_any_depth() -> None:
    tree = {"a": float("nan"), "b": [1.5, float("-inf"), (np.float64("inf"), 2)], "c": {"d": np.array([1.0, np.nan])}}
    assert finite(tree) == {"a": None, "b": [1.5, None, [None, 2]], "c": {"d": [1.0, None]}}
    assert json.loads(json.dumps(finite(tree), allow_nan=False)) == finite(tree)
    kept = {"text": "NaN", "none": None, "flag": True, "count": 3}
    assert finite(kept) == kept
