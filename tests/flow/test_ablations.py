"""Ablations on demand, measured beside the whole; models of sampled negatives are at the true prior."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyspark.sql import functions as F

from remedi_spark.cli import main
from remedi_spark.models.predictors import load_predictor
from remedi_spark.scoring.bundle import Bundle, load_parts
from remedi_spark.storage.store import ModelStore
from tests.cli.conftest import train_arguments, world

pytestmark = pytest.mark.slow
MEMBER = "catboost_categories"
NAMES = ("student_labels_only", "fuser_plain", "fuser_convex", "fuser_stack", "fuser_mlp")


@pytest.fixture(scope="module")
def sampled(spark: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose base models saw a fifth of the negatives, then measured with ablations."""
    folder = tmp_path_factory.mktemp("ablations")
    world(rows=3000, positives=150).to_parquet(folder / "owners.parquet", coerce_timestamps="us")
    bundle = folder / "model"
    _done(
        *train_arguments(
            folder / "owners.parquet",
            bundle,
            "--set",
            "base_models.negatives=0.2",
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


def test_scores_of_sampled_models_are_at_the_true_prior(sampled: Path, spark: Any) -> None:
    margins = spark.read.format("delta").load(str(sampled / "tables" / "base_margins")).where("part = 'train'")
    names = [name for name in margins.columns if name in ("lightgbm", "mlp", MEMBER)]
    assert len(names) == 3
    means = margins.agg(F.avg("label"), *[F.avg(1 / (1 + F.exp(-F.col(name)))) for name in names]).collect()[0]
    for name, mean in zip(names, means[1:], strict=True):
        assert means[0] / 2 < mean < means[0] * 2, f"{name}: without the shift it would be near {5 * means[0]:.2f}"


def test_a_base_model_is_a_part_of_the_student_at_the_true_prior(sampled: Path, spark: Any) -> None:
    bundle = Bundle(load_parts(sampled))
    assert set(bundle.predictors) == {"mlp", MEMBER}
    tables = {
        name: spark.read.format("delta").load(str(sampled / "tables" / name)).where("part = 'test'").orderBy("owner_id")
        for name in ("evaluation_encoded", "evaluation_base_margins")
    }
    rows = tables["evaluation_encoded"].limit(60).collect()
    assert len(rows) == 60
    folds = sampled / "work" / "evaluation" / "student" / MEMBER
    assert folds.exists()
    stored = ModelStore(sampled / "work" / "evaluation")
    by_fold = []
    for fold in range(bundle.encoder.folds):
        fitted = stored.load_fitted("student", MEMBER, f"fold_{fold}")
        assert fitted.info["shift"] == pytest.approx(math.log(0.2))
        by_fold.append(load_predictor(fitted)(np.array([[*row["x"], *row["te"][fold]] for row in rows])))
    expected = [row[MEMBER] for row in tables["evaluation_base_margins"].limit(60).collect()]
    np.testing.assert_allclose(np.mean(by_fold, axis=0), expected, atol=1e-9)


def test_a_bundle_that_is_not_finished_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["report", "--model", str(tmp_path), "--ablations"])
    assert stop.value.code == 2
    assert "report.json" in capsys.readouterr().err
