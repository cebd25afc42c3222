"""Stage 7 as the chain runs it: measure, render, and tell MLflow where it is wanted."""

from __future__ import annotations

from collections.abc import Sequence

from remedi_spark.config import Config
from remedi_spark.delivery import mlflow_registry as registry
from remedi_spark.report import stage as report
from remedi_spark.running import durations_of
from remedi_spark.storage.workspace import Workspace


def measure(workspace: Workspace, config: Config, *, label: str, measured: Sequence[str] = ()) -> None:
    """Write the report on the test rows; ``measured`` names ablations that it shows."""
    seconds = durations_of(workspace)
    metrics = report.run(workspace, config, label=label, durations=seconds, ablations=measured)
    if config.mlflow.enabled:
        registry.log_if_possible(workspace.bundle, config, metrics)
