"""The whole chain on S3: tables, bundle, report, scores and export at addresses, and none of it here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
def test_train_score_report_and_export(
    bucket: str, owners: Path, settings: list[str], remedi: Command, spark: SparkSession, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    model, table = f"{bucket}/some owners/model", f"{bucket}/owners.parquet"
    spark.read.parquet(str(owners)).write.parquet(table)
    done = remedi(*train_arguments(table, model), *settings, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["model"] == model
    names = _names(model)
    assert {"manifest.json", "report.html", "metrics.json", "work/manifest.json"} <= names
    assert not [name for name in names if name.endswith(LEASE) or "/." in name or name.startswith("remedi-")]
    ours, frame = load(model), world()

    again = remedi(*train_arguments(table, model), *settings)  # as on another machine: nothing of it is here
    assert again.code == 0, again.err
    assert "base-models/holdout/predictions: done before, skipped" in again.err
    assert load(model).model_version == ours.model_version

    scores, out = f"{bucket}/scores", f"{bucket}/out"
    assert remedi("score", "--table", table, "--model", model, "--out", scores).code == 0
    found = spark.read.format("delta").load(scores).toPandas().set_index("owner_id")["score"]
    np.testing.assert_allclose(found[frame["owner"]].to_numpy(), ours.predict(frame), atol=1e-6)

    before = Files.at(model, "test").read("report.html")
    told = remedi("report", "--model", model)
    assert told.out.strip() == f"{model}/report.html"
    assert Files.at(model, "test").read("report.html") == before
    page = remedi_spark.Model(model)
    assert page.metrics["rows"] > 0
    assert page.report().path.read_bytes() == before

    for _ in range(2):
        done = remedi("export", "--scores", scores, "--out", out, "--format", "csv", "--json")
        assert done.code == 0, done.err
    manifest = json.loads(Files.at(out, "test").read("manifest.json") or b"")
    assert manifest["rows"] == len(frame) == sum(one["rows"] for one in manifest["files"])
    listed = {f"{manifest['folder']}/{one['name']}" for one in manifest["files"]}
    assert listed < _names(out)
    assert not list(tmp_path.iterdir()), "no folder is called s3a:"


@pytest.mark.slow
def test_run_from_events(bucket: str, settings: list[str], remedi: Command, spark: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    owner = rng.integers(0, 300, 9_000)
    product = np.where((owner % 5 == 0) & (rng.random(9_000) < 0.35), "TEA", rng.choice(["MILK", "SOAP"], 9_000))
    day = pd.Timestamp("2026-01-01") + pd.to_timedelta(rng.integers(0, 280, 9_000), unit="D")
    events = pd.DataFrame({"owner": owner, "at": day, "product": product, "amount": rng.gamma(2.0, 3.0, 9_000)})
    configuration = tea_configuration(tmp_path, events, [28, 56], TEA)
    root = f"{bucket}/run"
    for attempt in range(2):
        done = remedi("run", "--config", configuration, "--root", root, *settings, "--json")
        assert done.code == 0, done.err
        told = json.loads(done.out)
        assert told["report"] == f"{root}/model/report.html"
        assert ("scores: done before, skipped" in done.err) == bool(attempt)
    assert spark.read.format("delta").load(told["scores"]).where("in_top_k").count() > 0
    assert not (tmp_path / "run").exists()


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
