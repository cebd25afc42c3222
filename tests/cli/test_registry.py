"""A student in MLflow's registry: the same scores, no pickle, and a champion that only a better model replaces."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.entities.model_registry import ModelVersion

import remedi_spark
from remedi_spark.config import load_config
from remedi_spark.config.mlflow import MLflowConfig
from remedi_spark.delivery import mlflow_registry as registry
from remedi_spark.errors import InputError
from remedi_spark.promote import promote
from remedi_spark.scoring.open_model import require_mlflow
from tests.cli.conftest import Command, Trained, world

NAME = "remedi"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A registry of its own in SQLite."""
    folder = tmp_path_factory.mktemp("mlflow")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        patch.chdir(folder)
        mlflow.set_tracking_uri(None)
        yield folder
    mlflow.set_tracking_uri(None)


@pytest.fixture(scope="module")
def champion(trained: Trained, store: Path, spark: Any) -> str:
    """The trained bundle, registered and promoted as there is no other."""
    done, told = promote(trained.bundle, load_config())
    assert done, told
    return told


def test_a_run_has_parameters_metrics_and_artefacts(champion: str, trained: Trained) -> None:
    run = mlflow.search_runs(experiment_names=["remedi"], output_format="list")[0]
    expected = json.loads((trained.bundle / "metrics.json").read_text())
    assert run.data.metrics["student/ap"] == pytest.approx(expected["models"]["student"]["ap"])
    assert run.data.params["folds"] == "2"
    assert run.data.tags["remedi.model_version"] == remedi_spark.load(trained.bundle).model_version
    names = {one.path for one in mlflow.MlflowClient().list_artifacts(run.info.run_id)}
    assert {"metrics.json", "report.html", "manifest.json", "config.yaml"} <= names


def test_the_registered_student_scores_as_the_bundle_and_holds_no_pickle(
    champion: str, trained: Trained, store: Path
) -> None:
    model = mlflow.pyfunc.load_model(f"models:/{NAME}@champion")
    rows = trained.frame.drop(columns=["owner", "bought", "constant"]).head(50)
    found = model.predict(rows.assign(since=pd.to_datetime(rows["since"])))
    np.testing.assert_allclose(found["score"], remedi_spark.load(trained.bundle).predict(rows), atol=1e-9)
    assert model.metadata.signature is not None
    example = model.input_example
    assert model.predict(example)["score"].between(0, 1).all()
    files = [path for path in store.rglob("*") if path.is_file()]
    assert any(path.name == "encoder.json" for path in files)
    assert not [path for path in files if path.suffix in (".pkl", ".pickle")]
    owners = set(trained.frame["owner"])
    assert not owners & set(example.astype(str).to_numpy().ravel()), "no owner's row is given away"


def test_scoring_by_the_champion_equals_scoring_by_the_bundle(
    champion: str, trained: Trained, remedi: Command, tmp_path: Path
) -> None:
    out = tmp_path / "scores.parquet"
    score = ["score", "--table", trained.table, "--out", out, "--model"]
    done = remedi(*score, f"models:/{NAME}@champion")
    assert done.code == 0, done.err
    scores = pd.read_parquet(out).set_index("owner_id").loc[trained.frame["owner"]]
    bundle = remedi_spark.load(trained.bundle)
    np.testing.assert_allclose(scores["score"], bundle.predict(trained.frame), atol=1e-6)
    assert set(scores["model_version"]) == {bundle.model_version}
    other = tmp_path / "other.parquet"
    trained.frame.drop(columns="is:active").to_parquet(other, coerce_timestamps="us")
    refused = remedi("score", "--table", other, "--out", out, "--model", f"models:/{NAME}@champion")
    assert refused.code == 2
    assert "feature 'is:active' is missing" in refused.message
    missing = remedi(*score, f"models:/{NAME}@nobody")
    assert missing.code == 2
    assert "models:/remedi@nobody" in missing.message


def test_the_champion_stays_unless_it_is_beaten(
    champion: str, trained: Trained, remedi: Command, spark: Any, tmp_path: Path
) -> None:
    again = remedi("promote", "--model", trained.bundle)
    assert "is the champion already" in again.out
    worse = _twin(trained.bundle, tmp_path / "worse", slope=-1.0)
    table = tmp_path / "new.parquet"
    world(600, 60, seed=5).assign(owner=lambda frame: "new " + frame["owner"]).to_parquet(table, coerce_timestamps="us")
    judged = ["--table", table, "--label", "bought", "--id", "owner"]
    kept = remedi("promote", "--model", worse, *judged)
    assert kept.code == 0, kept.err
    assert "does not replace" in kept.out
    crowned = mlflow.MlflowClient().get_model_version_by_alias(NAME, "champion")
    assert crowned.tags["remedi.model_version"] == remedi_spark.load(trained.bundle).model_version
    mlflow.MlflowClient().set_registered_model_alias(NAME, "champion", "2")  # the worse one, by hand
    far = remedi("promote", "--model", trained.bundle, *judged, "--set", "mlflow.margin=0.95")
    assert "does not replace" in far.out
    back = remedi("promote", "--model", trained.bundle, *judged)
    assert "version 1 replaces version 2" in back.out


def test_a_name_of_three_parts_is_registered_as_challenger_and_found_again(
    champion: str, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_config().model_copy(update={"mlflow": MLflowConfig(model="main.remedi.owners")})
    metrics = json.loads((trained.bundle / "metrics.json").read_text())
    version = registry.log_run(trained.bundle, config, metrics)
    client = mlflow.MlflowClient()
    crowned = client.get_model_version_by_alias("main.remedi.owners", "challenger")
    assert str(crowned.version) == version
    signature = mlflow.models.get_model_info("models:/main.remedi.owners@challenger").signature
    assert signature.inputs.input_names() and signature.outputs.input_names() == ["score"]
    assert registry.champion_version("main.remedi.owners") is None
    registry.crown("main.remedi.owners", version)
    assert registry.champion_version("main.remedi.owners") == version
    untagged = [
        ModelVersion(one.name, one.version, 0) for one in client.search_model_versions(f"name = '{crowned.name}'")
    ]
    monkeypatch.setattr(mlflow.MlflowClient, "search_model_versions", lambda *_: untagged)  # as Unity Catalog does
    model_version = remedi_spark.load(trained.bundle).model_version
    assert registry.registered_version("main.remedi.owners", model_version) == version


@pytest.mark.parametrize("name", ["remedi", "remedi.owners", "main..owners", "a.b.c.d"])
def test_unity_catalog_wants_three_parts(name: str, trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_config().model_copy(update={"mlflow": MLflowConfig(model=name)})
    monkeypatch.setattr(mlflow, "get_registry_uri", lambda: "databricks-uc")
    with pytest.raises(InputError, match=r"mlflow\.model: found .* expected catalog\.schema\.name"):
        registry.log_run(trained.bundle, config, {})
    with pytest.raises(InputError, match=r"catalog\.schema\.name"):
        promote(trained.bundle, config)


def test_mlflow_2_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlflow, "__version__", "2.21.3")
    with pytest.raises(InputError, match=r"mlflow: found 2\.21\.3, expected 3"):
        require_mlflow()


def test_rows_that_the_champion_has_learned_from_do_not_count(
    champion: str, trained: Trained, remedi: Command, tmp_path: Path
) -> None:
    other = _twin(trained.bundle, tmp_path / "other", slope=1.1)
    done = remedi("promote", "--model", other)
    assert done.code == 2
    assert "give a labelled table" in done.message
    table = tmp_path / "unlabelled.parquet"
    world(600, 60, seed=5).drop(columns="bought").to_parquet(table, coerce_timestamps="us")
    estimated = ["promote", "--model", other, "--estimated"]
    told = remedi(*estimated, "--table", table, "--id", "owner", "--set", "mlflow.metric=recall_at_k")
    assert told.code == 0, told.err
    assert "estimated, expected to be positive; version" in told.out
    assert "does not replace" in told.out
    assert "name the rows to compare on with --table" in remedi(*estimated).message
    auc = remedi(*estimated, "--table", table, "--id", "owner", "--set", "mlflow.metric=auc")
    assert (auc.code, "found mlflow.metric auc" in auc.message) == (2, True)


def _twin(bundle: Path, to: Path, slope: float) -> Path:
    """Return a copy whose scores are turned by the slope: -1 ranks the best last."""
    import shutil

    from remedi_spark.maths.calibrators import PlattCalibrator
    from remedi_spark.scoring.bundle import write_manifest
    from remedi_spark.storage.publish import publish
    from remedi_spark.storage.store import ModelStore

    shutil.copytree(bundle, to)
    ModelStore(to / "work").save("calibration", PlattCalibrator(slope, -3.0).to_dict())
    manifest = json.loads((to / "manifest.json").read_text())
    write_manifest(to / "work", students=manifest["students"], folds=manifest["folds"])
    publish(to / "work", to)
    return to
