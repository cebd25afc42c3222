"""`remedi train --task regression` and `remedi score`, through the command line; and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import remedi_spark
from remedi_spark.backtest import _head, _measures
from remedi_spark.cli import main
from remedi_spark.config.regression import TRIED, Weighting
from remedi_spark.labels.weights import Errors, best_weights
from remedi_spark.maths.label_density import LabelDensity
from remedi_spark.maths.label_scale import LabelScale
from remedi_spark.storage.tables import Tables
from tests.cli.conftest import Command, Trained
from tests.cli.test_bad_input import refused

SETTINGS = [
    "base_models.folds=2",
    "base_models.only=[lightgbm, lightgbm_tweedie, lightgbm_hurdle, xgboost, catboost_categories, mlp]",
    *[f"base_models.models.{name}.num_iterations=40" for name in (
        "lightgbm", "lightgbm_tweedie", "lightgbm_hurdle", "xgboost", "catboost_categories"
    )],
    "base_models.models.mlp={kind: mlp, epochs: 6, hidden: [16]}",
    "student.models.mlp={kind: mlp, epochs: 12, hidden: [16]}",
    "student.models.catboost=null",
    "regression.fds.enabled=true",
    "fuser.steps=40",
    "evaluation.bootstrap=20",
]  # fmt: skip


def spend(rows: int = 1200, seed: int = 0) -> pd.DataFrame:
    """Owners of whom half spend nothing; the rest spend what two columns and a level say, with a long tail."""
    rng = np.random.default_rng(seed)
    visits, income = rng.normal(size=(2, rows))
    city = rng.choice(["Köln", "Łódź", "x y"], rows)
    drive = 3 + 0.8 * income + 0.5 * (city == "Köln")
    buys = rng.random(rows) < 1 / (1 + np.exp(-4 * visits))
    amount = np.exp(drive + 0.2 * rng.normal(size=rows))
    return pd.DataFrame({
        "owner": [f"o{i}" for i in range(rows)], "visits": visits, "income": income, "city": city,
        "noise": rng.normal(size=rows), "spend": np.where(buys, amount, 0.0),
    })  # fmt: skip


def arguments(table: Path, bundle: Path, *more: str) -> list[str]:
    settings = [part for value in SETTINGS for part in ("--set", value)]
    return [
        "train", "--task", "regression", "--table", str(table), "--label", "spend", "--id", "owner",
        "--model", str(bundle), *settings, *more,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def bundle(spark: Any, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("regression")
    frame, table = spend(), folder / "owners.parquet"
    frame.to_parquet(table)
    with pytest.raises(SystemExit) as stop:
        main(arguments(table, folder / "model"))
    assert stop.value.code == 0
    return Trained(folder / "model", table, frame)


def test_every_kind_of_member_takes_part_and_the_signal_is_found(bundle: Trained) -> None:
    metrics = json.loads((bundle.bundle / "metrics.json").read_text())
    members = {"lightgbm", "lightgbm_tweedie", "lightgbm_hurdle", "xgboost", "catboost_categories", "mlp"}
    assert set(metrics["models"]) == members | {"mean", "stack", "selection", "smeared", "fuser", "student"}
    measures = {"mae", "rmse", "gmae", "sera", "spearman", "value_at_k"}
    assert all(set(found) == measures for found in metrics["models"].values())
    truth = np.exp(3 + 0.8 * bundle.frame["income"]) / (1 + np.exp(-4 * bundle.frame["visits"]))
    best = float(truth.corr(bundle.frame["spend"], method="spearman"))
    constant = float(np.abs(bundle.frame["spend"] - bundle.frame["spend"].median()).mean())
    for name in (*members, "fuser", "student"):
        assert metrics["models"][name]["spearman"] > 0.7 * best, name
        assert metrics["models"][name]["mae"] < constant, name
    assert metrics["models"]["student"]["value_at_k"] > 2 * metrics["budget"]


def test_shots_share_out_the_measured_rows(bundle: Trained) -> None:
    metrics = json.loads((bundle.bundle / "metrics.json").read_text())
    shots = metrics["shots"]["student"]
    by_rows = ("many", "medium", "few", "zero")
    assert set(shots) == {"all", *by_rows, "zeros"}
    assert sum(shots[name]["rows"] for name in by_rows) == shots["all"]["rows"] == metrics["rows"]
    zeros = float((bundle.frame["spend"] == 0).mean())
    assert shots["zeros"]["rows"] / metrics["rows"] == pytest.approx(zeros, abs=0.1)
    assert shots["all"]["mae"] == pytest.approx(metrics["models"]["student"]["mae"])
    report = json.loads((bundle.bundle / "report.json").read_text())
    assert sum(entry["rows"] for entry in report["label_bins"]) == pytest.approx(0.75 * len(bundle.frame), rel=0.05)
    assert "Errors along the label" in (bundle.bundle / "report.html").read_text()


def test_a_backtest_finds_its_measures_in_the_file(bundle: Trained) -> None:
    metrics = json.loads((bundle.bundle / "metrics.json").read_text())
    assert _head(metrics)["few_rows"] == metrics["shots"]["student"]["few"]["rows"]
    for name in metrics["models"]:
        found = _measures(metrics, name)
        values = {**metrics["models"][name], "few_mae": metrics["shots"][name]["few"]["mae"]}
        values.pop("sera")  # a total over an origin's own rows: no origin compares with another
        assert {measure: value for measure, (value, _, _) in found.items()} == values
        for measure, (value, low, high) in found.items():
            assert measure == "few_mae" or low <= value <= high, (name, measure)


def test_row_weights_are_those_of_the_numpy_reference(bundle: Trained, spark: Any) -> None:
    work = bundle.bundle / "work"
    stored, chosen = (json.loads((work / name).read_text()) for name in ("labels.json", "label_weights.json"))
    scale = LabelScale.from_dict(stored["scale"])
    name = Weighting(chosen["kind"], chosen["share"]).name
    assert set(chosen["tried"]) == set(stored["densities"]) == {one.name for one in TRIED}
    assert name == best_weights({kind: Errors(**errors) for kind, errors in chosen["tried"].items()})
    density = LabelDensity.from_dict(stored["densities"][name])
    encoded = Tables(spark, str(bundle.bundle / "tables")).read("encoded").toPandas()
    expected = np.where(encoded["label"] == 0, 1.0, density.weight_of(scale.margin(encoded["label"])))
    assert np.mean(np.isclose(encoded["weight"], expected)) > 0.99  # a label on an edge may round to either side
    assert encoded["weight"].mean() == pytest.approx(1.0, rel=1e-3)


def test_scores_are_amounts_ranked_and_equal_the_bundle_without_spark(
    bundle: Trained, remedi: Command, tmp_path: Path
) -> None:
    out = tmp_path / "scores.parquet"
    assert remedi("score", "--table", bundle.table, "--model", bundle.bundle, "--out", out).code == 0
    scores = pd.read_parquet(out).set_index("owner_id").loc[bundle.frame["owner"]]
    local = remedi_spark.load(bundle.bundle).predict(bundle.frame)
    np.testing.assert_allclose(scores["score"], local, atol=1e-6)
    assert local.min() >= 0 and local.max() > 50  # amounts, not probabilities
    ordered = scores.sort_values("rank")
    assert ordered["score"].is_monotonic_decreasing
    explained = ordered[ordered["in_top_k"]]["reasons"].iloc[0]
    assert len(explained) == 3


@pytest.mark.parametrize(
    ("label", "more", "words"),
    [
        (lambda y: y * 0 + 5, (), ("'spend'", "5 in every row", "constant")),
        (lambda y: y.where(y.index != 3, np.inf), (), ("'spend'", "1 values that are not finite")),
        (lambda y: y * np.nan, (), ("'spend'", "null in every row")),
        (
            lambda y: y - 1,
            ("--set", "base_models.models.lightgbm_tweedie.enabled=true"),
            ("'spend'", "below 0", "lightgbm_tweedie", "tweedie"),
        ),
        (lambda y: y, ("--set", "regression.lds.kernel_size=4"), ("kernel_size", "4", "odd")),
        (lambda y: y, ("--set", "regression.bins=3"), ("lds.kernel_size", "5", "3 bins")),
        (lambda y: y, ("--set", "regression.lds.share=0.5"), ("share", "0.5", "auto", "reweight")),
        (lambda y: y, ("--set", "regression.bins=1"), ("regression.bins", "1")),
        (lambda y: y, ("--set", "base_models.models.lightgbm.objective=focal"), ("lightgbm.objective", "focal")),
        (lambda y: y, ("--set", "base_models.max_rows=10"), ("base_models.max_rows", "100")),
        (lambda y: y.where(y.index > 3, 0).where(y.index <= 3, 0) + (y.index < 3), (), ("upper tail", "folds")),
    ],
)  # fmt: skip
def test_refused(label: Any, more: tuple[str, ...], words: tuple[str, ...], remedi: Command, tmp_path: Path) -> None:
    frame = spend(60)
    frame.assign(spend=label(frame["spend"]).astype(float)).to_parquet(tmp_path / "owners.parquet")
    refused(remedi(*arguments(tmp_path / "owners.parquet", tmp_path / "model", *more)), *words)
    assert not (tmp_path / "model" / "manifest.json").exists()


def test_members_for_many_zeros_stay_out_where_labels_are_below_zero(spark: Any, tmp_path: Path) -> None:
    from remedi_spark.config import load_config
    from remedi_spark.labels.kind import task_of
    from remedi_spark.storage.store import ModelStore

    task = task_of(load_config(task="regression"), ModelStore(tmp_path))
    for labels, expected in (([-2.0, 0.0, 0.0, 3.0], False), ([1.0, 2.0, 3.0], False), ([0.0, 0.0, 3.0], True)):
        task.measure_labels(spark.createDataFrame([(y, 1.0) for y in labels], "label double, weight double"))
        fresh = task_of(task.config, ModelStore(tmp_path))  # type: ignore[attr-defined]
        assert ("lightgbm_hurdle" in fresh.members(fresh.config.base_models.models)) is expected  # type: ignore[attr-defined]
