"""What is shipped: a distilled student that follows its teacher, or the selected base models themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import functions as F

from remedi_spark.cli import main
from remedi_spark.ensemble.retention import kept_share
from remedi_spark.maths.ranking import average_precision, expected_average_precision
from remedi_spark.scoring.bundle import Bundle, BundleParts, load, load_students
from remedi_spark.storage.store import ModelStore
from remedi_spark.storage.tables import Tables
from tests.cli.conftest import train_arguments, world


def test_the_expected_ap_is_the_mean_over_drawn_labels() -> None:
    rng = np.random.default_rng(0)
    probability = rng.beta(1, 20, 400)
    scores = probability + rng.normal(0, 0.03, 400)
    drawn = [average_precision(rng.random(400) < probability, scores) for _ in range(3000)]
    # A mean of quotients and a quotient of means: of 20 positives they differ by a few per cent, of many by nothing.
    assert expected_average_precision(scores, probability) == pytest.approx(np.mean(drawn), rel=0.06)
    assert expected_average_precision([3, 2, 1], [1, 0, 1]) == pytest.approx((1 + 2 / 3) / 2)
    assert expected_average_precision([1, 1], [0.2, 0.6]) == pytest.approx((0.2 * 1.6 / 2 + 0.6 * 1.2 / 2) / 0.8)


def test_a_student_that_ranks_as_its_teacher_keeps_everything(spark: Any) -> None:
    margin = F.randn(1) - 3
    frame = spark.range(4000).select(
        F.col("id").cast("string").alias("owner_id"), F.xxhash64("id").alias("row_hash"), margin.alias("fuser"),
        F.lit(1.0).alias("weight"),
    )  # fmt: skip
    same = frame.withColumn("student", 2 * F.col("fuser") + 1)
    assert kept_share(same, 0) == pytest.approx(1)
    assert kept_share(frame.withColumn("student", F.randn(2)), 0) < 0.6
    assert kept_share(same.where("owner_id = 'none'"), 0) == 1


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training whose distilled student never keeps enough."""
    folder = tmp_path_factory.mktemp("ensemble")
    world(rows=1500).to_parquet(folder / "owners.parquet", coerce_timestamps="us")
    settings = ["--set", "base_models.only=[additive, lightgbm, mlp]", "--set", "student.kind=auto",
                "--set", "student.keep=1.0", "--set", "base_models.max_rows=800"]  # fmt: skip
    with pytest.raises(SystemExit) as stop:
        main(train_arguments(folder / "owners.parquet", folder / "model", *settings))
    assert not stop.value.code
    return folder


def test_where_it_keeps_too_little_the_selection_is_shipped(ensemble: Path, spark: Any) -> None:
    metrics = json.loads((ensemble / "model" / "metrics.json").read_text())
    student = metrics["student"]
    assert student["kind"] == "ensemble"
    assert student["kept"] < 1
    assert sum(student["weights"].values()) == pytest.approx(1)
    assert set(student["names"]) == set(student["weights"]) <= {"additive", "lightgbm", "mlp"}
    assert student["names"] == list(load(ensemble / "model").predictors), "what is shipped, not what was measured"
    scores = Tables(spark, str(ensemble / "model" / "tables")).read("evaluation_student_scores").toPandas()
    # A model of less than a fiftieth is not shipped, so that the two are not equal to the last digit.
    assert set(scores["part"]) == {"test"}, "nobody asks for those of rows that a student has learned from"
    assert np.corrcoef(scores["student"], scores["selection"])[0, 1] > 0.995
    assert "It is an ensemble of base models" in (ensemble / "model" / "report.html").read_text()


def test_what_is_shipped_scores_as_the_tables_say(ensemble: Path, spark: Any) -> None:
    measured = ModelStore(ensemble / "model" / "work" / "evaluation")
    about = measured.load("student_parts")
    students = load_students(measured, about["names"], about["models_each"])
    bundle = Bundle(BundleParts(measured.load("encoder"), students, measured.load("calibration"), ""))
    scores = Tables(spark, str(ensemble / "model" / "tables")).read("evaluation_student_scores").toPandas()
    owners = pd.read_parquet(ensemble / "owners.parquet").set_index("owner", drop=False).loc[scores["owner_id"]]
    canonical = bundle.contract.canonical(owners)
    np.testing.assert_allclose(bundle.margin(canonical), scores["student"], atol=1e-6)
    reasons = load(ensemble / "model").explain(canonical.head(20), 3)
    assert all(len(one) == 3 for one in reasons)


@pytest.mark.slow
def test_its_onnx_graph_gives_the_same_scores(ensemble: Path, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    from remedi_spark.delivery.onnx_model import build_model, onnx_inputs

    bundle = load(ensemble / "model")
    owners = pd.read_parquet(ensemble / "owners.parquet")
    session = onnxruntime.InferenceSession(build_model(bundle).SerializeToString())
    found = session.run(["score"], onnx_inputs(bundle.contract, owners))[0]
    np.testing.assert_allclose(found, bundle.predict(owners), rtol=1e-4, atol=1e-6)
