"""`remedi train` and `remedi score` on flat tables, through the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import remedi_spark
from tests.cli.conftest import Command, Trained, train_arguments, world

MODELS = {
    "additive", "lightgbm", "xgboost", "mlp", "mean", "rank_mean", "stack_lr", "selection", "fuser", "student"
}  # fmt: skip
METRICS = {"ap", "auc", "recall_at_k", "precision_at_k", "lift_at_k", "ndcg_at_k", "brier", "ece", "ks"}


def test_metrics_name_every_model_and_metric_on_test_rows(trained: Trained) -> None:
    metrics = json.loads((trained.bundle / "metrics.json").read_text())
    assert set(metrics["models"]) == MODELS
    assert all(set(values) == METRICS for values in metrics["models"].values())
    assert metrics["rows"] < len(trained.frame)
    assert metrics["positives"] == 10  # a quarter of the 40 buyers, dealt evenly
    assert metrics["k"] == int(np.ceil(0.075 * metrics["rows"]))
    assert metrics["models"]["student"]["auc"] > 0.7  # the planted signal is strong
    assert "no stage was trained on" in metrics["measured_on"]


def test_report_is_written_and_rebuilt_without_the_tables(trained: Trained, remedi: Command) -> None:
    report = trained.bundle / "report.html"
    before = report.read_text()
    report.unlink()
    assert remedi("report", "--model", trained.bundle).code == 0
    assert report.read_text() == before


def test_constant_column_is_left_out_and_awkward_names_are_kept(trained: Trained) -> None:
    contract = json.loads((trained.bundle / "contract.json").read_text())
    names = [feature["name"] for feature in contract["features"]]
    assert "constant" not in names
    assert {"visits, last 28 days", 'model "quoted" [x]', "größe {m}", "last `seen`"} <= set(names)


def test_the_report_says_where_the_list_does_less_well(trained: Trained) -> None:
    metrics = json.loads((trained.bundle / "metrics.json").read_text())
    segments = json.loads((trained.bundle / "report.json").read_text())["segments"]
    cities = [one for one in segments if one["column"] == "city.name"]
    assert {"Köln", 'quo"te', "(missing)"} <= {one["level"] for one in cities}
    assert sum(one["rows"] for one in cities) == metrics["rows"]
    assert sum(one["positives"] for one in cities) == metrics["positives"]
    best = max(cities, key=lambda one: one["positives"])
    assert best["level"] == "Köln", "where most buyers live"
    assert "By city.name" in (trained.bundle / "report.html").read_text()


def test_scores_equal_the_bundle_without_spark(trained: Trained, remedi: Command, tmp_path: Path) -> None:
    out = tmp_path / "scores.parquet"
    assert remedi("score", "--table", trained.table, "--model", trained.bundle, "--out", out).code == 0
    scores = pd.read_parquet(out).set_index("owner_id").loc[trained.frame["owner"]]
    local = remedi_spark.load(trained.bundle).predict(trained.frame)
    np.testing.assert_allclose(scores["score"], local, atol=1e-6)


def test_score_columns_are_consistent(trained: Trained, remedi: Command, tmp_path: Path) -> None:
    out = tmp_path / "scores.parquet"
    assert remedi("score", "--table", trained.table, "--model", trained.bundle, "--out", out, "--top-k", "50").code == 0
    scores = pd.read_parquet(out).sort_values("rank")
    assert list(scores["rank"]) == list(range(1, 1001))
    assert scores["score"].is_monotonic_decreasing
    assert scores["score"].between(0, 1).all()
    assert scores["in_top_k"].sum() == 50
    assert set(scores["decile"]) == set(range(1, 11))
    assert scores["percentile"].iloc[0] == 100
    explained = scores[scores["in_top_k"]]
    assert (explained["reasons"].map(len) == 3).all()
    texts = {reason["text"] for row in explained["reasons"] for reason in row}
    assert all(re.match(r".+ is .+, usual: .+", text) for text in texts)
    assert any(re.match(r"visits, last 28 days is \d+, usual: [23]$", text) for text in texts)
    assert scores.loc[~scores["in_top_k"], "reasons"].isna().all()
    assert scores[["model_version", "run_id", "scored_at"]].nunique().tolist() == [1, 1, 1]


def test_unseen_levels_and_nulls_are_scored(trained: Trained, remedi: Command, tmp_path: Path) -> None:
    batch = trained.frame.head(20).drop(columns=["bought", "constant"]).copy()
    batch["city.name"] = "never seen"
    batch["visits, last 28 days"] = np.nan
    batch.to_parquet(tmp_path / "batch.parquet", coerce_timestamps="us")
    out = tmp_path / "scores.parquet"
    done = remedi("score", "--table", tmp_path / "batch.parquet", "--model", trained.bundle, "--out", out)
    assert done.code == 0
    assert pd.read_parquet(out)["score"].between(0, 1).all()


def test_a_score_does_not_depend_on_who_else_is_scored(trained: Trained) -> None:
    bundle = remedi_spark.load(trained.bundle)
    alone = bundle.predict(trained.frame.iloc[[17]])
    np.testing.assert_allclose(alone, bundle.predict(trained.frame)[[17]], rtol=1e-6)  # single precision


@pytest.mark.parametrize("kind", ["csv", "delta", "catalog"])
def test_every_kind_of_table_scores_the_same(
    kind: str, trained: Trained, remedi: Command, tmp_path: Path, spark: Any
) -> None:
    table, out = _store(kind, trained, tmp_path, spark)
    assert remedi("score", "--table", table, "--model", trained.bundle, "--out", out).code == 0
    found = _read(kind, out, spark).set_index("owner_id")["score"].astype(float)
    expected = remedi_spark.load(trained.bundle).predict(trained.frame)
    np.testing.assert_allclose(found.loc[trained.frame["owner"]], expected, atol=1e-6)


def _store(kind: str, trained: Trained, folder: Path, spark: Any) -> tuple[str, str]:
    if kind == "csv":
        trained.frame.drop(columns="bought").to_csv(folder / "owners.csv", index=False)
        return str(folder / "owners.csv"), str(folder / "scores.csv")
    frame = spark.read.parquet(str(trained.table))
    if kind == "delta":
        named = {"delta.columnMapping.mode": "name", "delta.minReaderVersion": "2", "delta.minWriterVersion": "5"}
        frame.write.format("delta").options(**named).save(str(folder / "owners"))
        return str(folder / "owners"), str(folder / "scores")
    frame.createOrReplaceTempView("owners_view")
    spark.sql("DROP TABLE IF EXISTS default.scores_table")
    return "owners_view", "default.scores_table"


def _read(kind: str, out: str, spark: Any) -> pd.DataFrame:
    if kind == "csv":
        return pd.concat(pd.read_csv(part, dtype={"owner_id": str}) for part in Path(out).glob("*.csv"))
    frame = spark.read.format("delta").load(out) if kind == "delta" else spark.read.table(out)
    return frame.toPandas()


@pytest.mark.slow
def test_time_weight_and_a_test_table(remedi: Command, tmp_path: Path) -> None:
    frame = world(1600, 160, seed=1).drop(columns=["since", "last `seen`"])
    frame["month"] = pd.to_datetime("2026-01-31") + pd.to_timedelta(np.arange(1600) // 400 * 28, unit="D")
    frame["month"] = frame["month"].dt.strftime("%Y-%m-%d")
    frame["share"] = np.where(np.arange(1600) % 2, 1.0, 0.5)
    frame.iloc[:1200].to_csv(tmp_path / "train.csv", index=False)
    frame.iloc[1200:].to_csv(tmp_path / "test.csv", index=False)
    more = ["--time", "month", "--weight", "share", "--test", str(tmp_path / "test.csv")]
    done = remedi(*train_arguments(tmp_path / "train.csv", tmp_path / "model", *more))
    assert done.code == 0, done.err
    metrics = json.loads((tmp_path / "model" / "metrics.json").read_text())
    assert metrics["rows"] == 400
    assert metrics["positives"] == int(frame["bought"].iloc[1200:].sum())
    assert "--test" in metrics["measured_on"]
    names = [feature["name"] for feature in json.loads((tmp_path / "model" / "contract.json").read_text())["features"]]
    assert not {"month", "share", "owner", "bought"} & set(names)
