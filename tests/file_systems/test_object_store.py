"""The whole chain on S3: tables, bundle, report, scores and export at addresses, and none of it here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

import remedi_spark
from remedi_spark.errors import InputError
from remedi_spark.scoring.bundle import load
from remedi_spark.storage.file_systems import Files
from remedi_spark.storage.home import home_at
from remedi_spark.storage.lease import LEASE, leased
from tests.cli.conftest import FASTEST, Command, train_arguments, world
from tests.tea import tea_configuration

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

TEA = {
    "total": {"measures": {"spend": {"aggregate": "sum", "of": "amount"}}},
    "tea": {"where": "product = {category}", "measures": {"count": {"aggregate": "count"}}},
}


@pytest.fixture(scope="module")
def owners(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("owners") / "owners.parquet"
    world().to_parquet(path, coerce_timestamps="us")
    return path


@pytest.fixture
def settings() -> list[str]:
    return [word for one in FASTEST for word in ("--set", one)]


def _names(address: str) -> set[str]:
    return {one.name for one in Files.at(address, "test").entries(all_levels=True) if not one.is_folder}


@pytest.mark.slow
def test_run_again_score_report_and_export(
    place: str, settings: list[str], remedi: Command, spark: SparkSession, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """`train` is tried on a cluster (tests/cluster) that shares a bucket alone."""
    root = f"{place}/some owners"
    model = f"{root}/model"
    arguments = ["run", "--config", _configuration(tmp_path), "--root", root, *settings, "--json"]
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    first = remedi(*arguments)
    assert first.code == 0, first.err
    told = json.loads(first.out)
    assert (told["model"], told["report"], told["scores"]) == (model, f"{model}/report.html", f"{root}/scores")
    names = _names(root)
    assert {f"model/{one}" for one in ("manifest.json", "report.html", "metrics.json", "work/manifest.json")} <= names
    assert not [name for name in names if name.endswith(LEASE) or name.startswith("remedi-")]

    again = remedi(*arguments)  # as on another machine: nothing of the model is here
    assert again.code == 0, again.err
    for unit in ("base-models/holdout/predictions", "student", "scores", "report"):
        assert f"{unit}: done before, skipped" in again.err
    assert json.loads(again.out)["model_version"] == told["model_version"]

    bundle, features = load(model), spark.read.format("delta").load(f"{root}/owner_features")
    latest = features.where(features["snapshot_date"] == told["list"]["snapshot"])
    latest.write.parquet(f"{place}/latest.parquet")
    out = f"{place}/by hand"
    scored = remedi("score", "--table", f"{place}/latest.parquet", "--model", model, "--out", out)
    assert scored.code == 0, scored.err
    frame = latest.toPandas()
    for table in (told["scores"], out):
        found = spark.read.format("delta").load(table).toPandas().set_index("owner_id")["score"]
        np.testing.assert_allclose(found[frame["owner_id"]].to_numpy(), bundle.predict(frame), atol=1e-6)

    before = Files.at(model, "test").read("report.html")
    assert remedi("report", "--model", model).out.strip() == f"{model}/report.html"
    assert Files.at(model, "test").read("report.html") == before
    loaded = remedi_spark.Model(model)
    assert loaded.metrics["rows"] == told["rows"]
    assert loaded.report().path.read_bytes() == before

    for _ in range(2):
        done = remedi("export", "--scores", told["scores"], "--out", f"{place}/out", "--format", "csv", "--json")
        assert done.code == 0, done.err
    manifest = json.loads(Files.at(f"{place}/out", "test").read("manifest.json") or b"")
    assert manifest["rows"] == len(frame) == sum(one["rows"] for one in manifest["files"])
    assert {f"{manifest['folder']}/{one['name']}" for one in manifest["files"]} < _names(f"{place}/out")
    assert not list((tmp_path / "here").iterdir()), "no folder is called s3a:"
    assert not (tmp_path / "run").exists()


def _configuration(folder: Path) -> Path:
    """Write 9,000 purchases of 300 owners, some of whom buy tea."""
    rng = np.random.default_rng(0)
    owner = rng.integers(0, 300, 9_000)
    product = np.where((owner % 5 == 0) & (rng.random(9_000) < 0.35), "TEA", rng.choice(["MILK", "SOAP"], 9_000))
    day = pd.Timestamp("2026-01-01") + pd.to_timedelta(rng.integers(0, 280, 9_000), unit="D")
    events = pd.DataFrame({"owner": owner, "at": day, "product": product, "amount": rng.gamma(2.0, 3.0, 9_000)})
    return tea_configuration(folder, events, [28, 56], TEA)


def test_two_runs_do_not_mix(bucket: str, remedi: Command, owners: Path) -> None:
    model = f"{bucket}/held"
    home = home_at(model, "test")
    assert home.files is not None
    with leased([home.files], "x") as (held,):
        done = remedi(*train_arguments(owners, Path("unused")), "--model", model)
        assert done.code == 2
        assert f"{model}: in use by run" in done.message
        held.require_held()
        home.files.write(LEASE, json.dumps({"token": "other"}).encode())
        with pytest.raises(InputError, match="has taken over meanwhile"):
            held.require_held()
    home.files.remove(LEASE)
    assert _names(model) == set()


def test_what_cannot_be_reached_is_refused_before_anything_is_done(
    bucket: str, remedi: Command, owners: Path, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    none = remedi(*train_arguments(owners, Path("x")), "--model", f"{bucket}-which-is-not-there/model")
    assert none.code == 2
    assert "this process cannot use it" in none.message
    for address, words in {"foo://x/y": "unknown scheme foo", "s3a:///y": "names no bucket"}.items():
        done = remedi(*train_arguments(owners, Path("x")), "--model", address)
        assert (done.code, words in done.message) == (2, True), done.message
    blind = remedi(*train_arguments(owners, Path("x")), "--model", bucket.replace("s3a:", "s3:") + "/model")
    assert blind.code == 2
    assert "Spark has no library for it" in blind.message
    assert not _names(bucket) & {"model/manifest.json"}
