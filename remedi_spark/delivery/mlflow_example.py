"""Signature and input example of a bundle; the example row is made up of medians and frequent levels, no owner's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from remedi_spark.samples.encoder import NULL_LEVEL, Encoder
from remedi_spark.samples.schema import Feature
from remedi_spark.scoring.bundle import BundleParts

_MLFLOW_TYPE = {
    "number": "double", "boolean": "boolean", "date": "datetime", "timestamp": "datetime", "category": "string"
}  # fmt: skip

_FIRST_DAY, _LAST_DAY = -106_751, 106_751
"""1677-09-22 and 2262-04-11 as days since 1970."""


def signature(parts: BundleParts) -> Any:
    """Return the MLflow signature: every feature by the user's name, null allowed; ``score`` out."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema
    from mlflow.types.schema import AnyType

    features = Encoder.from_dict(parts.encoder).contract.features
    edges = (parts.distribution or {}).get("edges") or [None] * len(features)
    kinds = [AnyType() if _far(one, at) else _MLFLOW_TYPE[one.kind] for one, at in zip(features, edges, strict=True)]
    inputs = [ColSpec(kind, one.name, required=False) for kind, one in zip(kinds, features, strict=True)]
    return ModelSignature(Schema(inputs), Schema([ColSpec("double", "score")]))


def _far(feature: Feature, edges: list[float] | None) -> bool:
    """Whether a feature has days that MLflow's datetime, which is in pandas' nanoseconds, cannot hold."""
    if feature.kind not in ("date", "timestamp") or not edges:
        return False
    return not all(_FIRST_DAY < day < _LAST_DAY for day in edges)


def input_example(parts: BundleParts) -> pd.DataFrame:
    """Return one row that the model accepts."""
    encoder = Encoder.from_dict(parts.encoder)
    edges = (parts.distribution or {}).get("edges") or [None] * len(encoder.contract.features)
    return pd.DataFrame(
        {feature.name: _column(i, feature, encoder, edges[i]) for i, feature in enumerate(encoder.contract.features)}
    )


def _column(position: int, feature: Feature, encoder: Encoder, edges: list[float] | None) -> Any:
    value = _value(position, feature, encoder, edges)
    # Seconds, not pandas' nanoseconds: 9999-12-31 is a usual "for ever", and nanoseconds end in 2262.
    return pd.Series([value], dtype="datetime64[s]") if feature.kind in ("date", "timestamp") else [value]


def _value(position: int, feature: Feature, encoder: Encoder, edges: list[float] | None) -> Any:
    if feature.kind == "category":
        return next((name for name in encoder.levels[position].names if name != NULL_LEVEL), "")
    middle = edges[len(edges) // 2] if edges else 0.0
    if feature.kind == "boolean":
        return middle > 0.5
    return np.datetime64(round(middle), "D") if feature.kind in ("date", "timestamp") else middle
