"""Ablations on demand, measured beside the whole; models of sampled negatives are at the true prior."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from remedi_spark.cli import main
from remedi_spark.storage.store import ModelStore
from remedi_spark.storage.tables import Tables
from tests.cli.conftest import train_arguments, world

pytestmark = pytest.mark.slow
MEMBER = "catboost_categories"
NAMES = ("student_labels_only", "fuser_plain", "fuser_convex", "fuser_stack", "fuser_mlp")


@pytest.fixture(scope="module")
def sampled(spark: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that has learned from a fifth of the negatives, then measured with ablations."""
    folder = tmp_path_factory.mktemp("ablations")
    world(rows=3000, positives=150).to_parquet(folder / "owners.parquet", coerce_timestamps="us")
    bundle = folder / "model"
    _done(
        *train_arguments(
            folder / "owners.parquet",
            bundle,
            "--set",
            "base_models.max_rows=540",
            "--set",
            "base_models.only=[lightgbm, catboost_categories, mlp]",
            "--set",
            "base_models.models.catboost_categories.num_iterations=40",
        )
    )
    _done("report", "--model", str(bundle), "--ablations")
    return bundle


def _done(*arguments: str) -> None:
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    assert stop.value.code == 0


def test_every_ablation_is_measured_beside_the_whole(sampled: Path) -> None:
    metrics = json.loads((sampled / "metrics.json").read_text())
    assert set(metrics["ablations"]) == set(NAMES)
    for name, found in metrics["ablations"].items():
        value, low, high = found["ap_lost"]
        whole = metrics["models"][found["instead_of"]]["ap"]
        assert value == pytest.approx(whole - metrics["models"][name]["ap"], abs=1e-9)
        assert low <= high
    assert "student_labels_only" in (sampled / "report.html").read_text()


def _margins(spark: Any, bundle: Path, table: str, models: Path) -> pd.DataFrame:
    """Return the out-of-fold rows with the models' own log-odds, as they were before their alignment."""
    rows = Tables(spark, str(bundle / "tables")).read(table).orderBy("owner_id").toPandas()
    for name, lines in ModelStore(models).load("alignment").items():
        slope, intercept = np.array(lines)[rows["fold"].to_numpy()].T  # fold -1: the last line, of rows of no fold
        rows[name] = (np.log(rows[name]) - np.log1p(-rows[name]) - intercept) / slope
    return rows


def test_scores_of_sampled_models_are_at_the_true_prior(sampled: Path, spark: Any) -> None:
    margins = _margins(spark, sampled, "oof_predictions", sampled / "work")
    train = margins[margins["part"] == "train"]
    about = ModelStore(sampled / "work").load("training")
    assert about["rows"] == 3000
    assert len(train) == about["used"] == pytest.approx(540, abs=60)
    prior = np.average(train["label"], weights=train["weight"])
    assert prior == pytest.approx(about["prior"], rel=0.15), "the weights stand for all rows"
    for name in ("lightgbm", "mlp", MEMBER):
        mean = np.average(1 / (1 + np.exp(-train[name])), weights=train["weight"])
        assert prior / 2 < mean < prior * 2, f"{name}: without the shift it would be near {5 * prior:.2f}"


def test_the_rows_learned_from_are_told(sampled: Path) -> None:
    metrics = json.loads((sampled / "metrics.json").read_text())
    learned = metrics["learned_from"]
    assert learned["rows"] == pytest.approx(2250, abs=100)
    assert learned["positives_used"] == 150 - metrics["positives"]
    for model in ("lightgbm", MEMBER, "mlp"):
        by_fold = metrics["fits"][model]["rows_used"]
        assert sum(by_fold) == learned["rows_used"], "two folds: each is left out once"
    told = f"Learned from {learned['rows_used']:,} of {learned['rows']:,} training rows"
    assert told in (sampled / "report.html").read_text()


def test_a_bundle_that_is_not_finished_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["report", "--model", str(tmp_path), "--ablations"])
    assert stop.value.code == 2
    assert "report.json" in capsys.readouterr().err
