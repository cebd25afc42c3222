"""Open a model: a bundle folder, or a version in MLflow's registry."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from remedi_spark.errors import InputError
from remedi_spark.scoring.bundle import BundleParts, load_parts

CHAMPION = "champion"
SCHEME = "models:/"
BUNDLE = "bundle"
"""Folder of a registered model that holds the bundle."""


def require_mlflow() -> Any:
    """Return mlflow.

    Raises:
        InputError: it is not installed, or is older than 3, which logs models by another call.
    """
    # MLflow would report its use to its makers.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        import mlflow
        import mlflow.pyfunc
    except ImportError as error:
        raise InputError(
            "mlflow: not installed; pip install 'remedi_spark[mlflow]', or mlflow.enabled=false"
        ) from error
    if int(mlflow.__version__.partition(".")[0]) < 3:
        raise InputError(f"mlflow: found {mlflow.__version__}, expected 3; pip install 'remedi_spark[mlflow]'")
    return mlflow


def load_model(model: str | Path) -> BundleParts:
    """Load a bundle folder, or a registered model given as ``models:/name@champion`` or ``models:/name/3``.

    A registered model is loaded as any bundle is: its checksums are checked, and no code of it is run.

    Raises:
        InputError: there is no such model, or a file of it was changed since training.
    """
    if not str(model).startswith(SCHEME):
        return load_parts(model, "--model")
    with _downloaded(str(model)) as folder:
        return load_parts(folder)


@contextmanager
def _downloaded(model: str) -> Iterator[Path]:
    mlflow = require_mlflow()
    from mlflow.exceptions import MlflowException

    with tempfile.TemporaryDirectory() as folder:
        try:
            found = Path(mlflow.artifacts.download_artifacts(artifact_uri=model, dst_path=folder))
        except (MlflowException, OSError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(
                f"model {model}: not found ({reason}); expected {SCHEME}NAME@{CHAMPION} or {SCHEME}NAME/VERSION in the"
                f" registry at {mlflow.get_registry_uri()}; remedi promote makes a {CHAMPION}"
            ) from error
        yield found / "artifacts" / BUNDLE
