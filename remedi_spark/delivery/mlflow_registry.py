"""Log runs, register students, find the champion."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import yaml

from remedi_spark.config import Config
from remedi_spark.errors import InputError
from remedi_spark.progress import log, run_id, side_work
from remedi_spark.redaction import without_secrets_shown
from remedi_spark.scoring.bundle import BundleParts, load_parts
from remedi_spark.scoring.open_model import BUNDLE, CHAMPION, require_mlflow
from remedi_spark.storage.manifest import MANIFEST, read_sealed
from remedi_spark.storage.store import write_bytes, write_json
from remedi_spark.version import __version__

CHALLENGER = "challenger"
_VERSION = "remedi.model_version"
_UNITY_CATALOG = ("databricks-uc", "uc:")
"""How the address of such a registry begins."""
_SHOWN = ("metrics.json", "report.html", MANIFEST)


def log_run(bundle: Path, config: Config, metrics: dict[str, Any]) -> str:
    """Log a finished training as a run, register its student as ``challenger``; return the registered version."""
    mlflow = require_mlflow()
    require_full_name(config.mlflow.model, str(mlflow.get_registry_uri()))
    parts = load_parts(bundle)
    mlflow.set_experiment(config.mlflow.experiment)
    with mlflow.start_run(run_name=run_id()):
        mlflow.set_tags({_VERSION: parts.model_version, "remedi.run_id": run_id(), "remedi.label": metrics["label"]})
        mlflow.log_params(_parameters(config, list(parts.students)))
        mlflow.log_metrics(_figures(metrics))
        shown = without_secrets_shown(config.model_dump(mode="json"))
        mlflow.log_text(yaml.safe_dump(shown, sort_keys=False), "config.yaml")
        for name in _SHOWN:
            mlflow.log_artifact(str(bundle / name))
        version = _register(bundle, parts, config.mlflow.model)
    log("mlflow", f"{config.mlflow.model} version {version} is the {CHALLENGER} (model {parts.model_version})")
    return version


def require_full_name(name: str, registry: str) -> None:
    """Check that a model's name has the three parts by which Unity Catalog knows it.

    Raises:
        InputError: the registry is Unity Catalog, and the name has fewer or more.
    """
    if registry.startswith(_UNITY_CATALOG) and len([part for part in name.split(".") if part]) != 3:
        raise InputError(f"mlflow.model: found {name!r}, expected catalog.schema.name in the registry {registry}")


def log_if_possible(bundle: Path, config: Config, metrics: dict[str, Any]) -> None:
    """Log a finished training; where MLflow fails, the run says so at its end, and the model stands all the same."""
    with side_work(
        "mlflow", "logging to MLflow", "remedi report, or remedi promote, logs the model once MLflow is back"
    ):
        log_run(bundle, config, metrics)


def _register(bundle: Path, parts: BundleParts, name: str) -> str:
    from mlflow import MlflowClient
    from mlflow.pyfunc import log_model

    from remedi_spark.delivery import mlflow_example as example

    with tempfile.TemporaryDirectory() as folder:
        logged = log_model(
            name="student", python_model=str(Path(__file__).with_name("mlflow_student.py")),
            artifacts={BUNDLE: str(_sealed(bundle, Path(folder) / BUNDLE))}, signature=example.signature(parts),
            input_example=example.input_example(parts), pip_requirements=[f"remedi_spark=={__version__}"],
            registered_model_name=name,
        )  # fmt: skip
    client, version = MlflowClient(), str(logged.registered_model_version)
    client.set_model_version_tag(name, version, _VERSION, parts.model_version)
    client.set_registered_model_alias(name, CHALLENGER, version)
    return version


def _sealed(bundle: Path, to: Path) -> Path:
    """Copy what a score needs, and nothing that was kept for people or for retraining."""
    sealed = read_sealed(bundle, lambda found: found)
    for name, content in sealed.contents.items():
        write_bytes(to / name, content)
    write_json(to / MANIFEST, sealed.manifest.to_dict())
    return to


def _parameters(config: Config, students: list[str]) -> dict[str, Any]:
    models = [name for name, model in config.base_models.models.items() if model.enabled]
    return {
        "seed": config.seed, "folds": config.base_models.folds, "base_models": ",".join(models),
        "student": ",".join(students),
        "budget": config.scores.budget, "remedi_spark": __version__,
    }  # fmt: skip


def _figures(metrics: dict[str, Any]) -> dict[str, float]:
    figures = {
        f"{model}/{name}": value
        for model, values in metrics["models"].items()
        for name, value in values.items()
        if value is not None
    }
    kept = {f"retention/{name}": value for name, value in metrics["retention"].items() if value is not None}
    sizes = {name: float(metrics[name]) for name in ("rows", "positives", "k") if metrics.get(name) is not None}
    return figures | kept | sizes


def registered_version(name: str, model_version: str) -> str | None:
    """Return the registered version that holds a bundle, or None."""
    from mlflow import MlflowClient

    client = MlflowClient()
    found = (str(one.version) for one in client.search_model_versions(f"name = '{name}'"))
    # Unity Catalog finds versions without their tags.
    return next((one for one in found if client.get_model_version(name, one).tags.get(_VERSION) == model_version), None)


def champion_version(name: str) -> str | None:
    """Return the version that goes by the alias ``champion``, or None."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        return str(MlflowClient().get_model_version_by_alias(name, CHAMPION).version)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def crown(name: str, version: str) -> None:
    """Let a version go by the alias ``champion``."""
    from mlflow import MlflowClient

    MlflowClient().set_registered_model_alias(name, CHAMPION, version)
