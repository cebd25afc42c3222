"""Configuration of MLflow: where runs and models are kept, and when a candidate becomes the champion."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from remedi_spark.config.section import Section


class MLflowConfig(Section):
    """Runs and model registry; the stores are MLflow's own choice (``MLFLOW_TRACKING_URI``, the platform's)."""

    enabled: bool = False
    """Log every report as a run, and register its model as ``challenger``; needs ``remedi_spark[mlflow]``."""
    experiment: str = "remedi"
    """On Databricks an absolute path of the workspace, for example ``/Shared/remedi``."""
    model: str = "remedi"
    """Name of the registered model; in Unity Catalog ``catalog.schema.name``, which is required there."""
    metric: Literal["ap", "auc", "recall_at_k", "precision_at_k", "lift_at_k", "ndcg_at_k"] = "ap"
    """What a candidate must do better."""
    margin: float = Field(default=0.0, ge=0)
    """By how much: the lower end of the 95 % interval of the difference must lie above it."""
