"""Scores of rows in which one feature is another: what has not changed is encoded once, and all is scored at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from remedi_spark.models.contract import Array

if TYPE_CHECKING:
    import pandas as pd

    from remedi_spark.scoring.bundle import Bundle


def scores_of_changes(bundle: Bundle, rows: pd.DataFrame, changes: Mapping[int, npt.NDArray[Any]]) -> Array:
    """Return the scores with one feature changed at a time, shape (changes, rows).

    Args:
        bundle: the model.
        rows: under inside names, shape (rows, features).
        changes: by position of a feature, its values then, shape (rows,).
    """
    encoder, margins = bundle.encoder, np.zeros(len(changes) * len(rows))
    for i, fold in enumerate(bundle.left_out):
        x = np.repeat(encoder.transform(rows, leave_out=fold)[None], len(changes), axis=0)
        for one, (feature, values) in zip(x, changes.items(), strict=True):
            encoder.write(one, feature, values, leave_out=fold)
        for models in bundle.predictors.values():
            margins += models[i](x.reshape(len(margins), -1))
    margins /= len(bundle.left_out) * len(bundle.predictors)
    return np.asarray(bundle.calibrator(margins), dtype=np.float64).reshape(len(changes), len(rows))
