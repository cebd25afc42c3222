"""Who scores a row: the models that never saw its fold, or the mean of all; and the alignment to one prior."""

from __future__ import annotations

from typing import TYPE_CHECKING

import lightgbm
import numpy as np
import pandas as pd
import pytest
from pyspark.sql import functions as F

from remedi_spark.labels.alignment import align, binned_rows, fit_alignment
from remedi_spark.models.predict import score_by_fold
from remedi_spark.samples.layout import Layout, Slot
from remedi_spark.storage.fitted import Fitted

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

FOLDS = 3


@pytest.fixture(scope="module")
def boosters() -> list[lightgbm.Booster]:
    """Three small models that differ."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 2))
    fits = []
    for fold in range(FOLDS):
        target = x[:, 0] + (fold - 1) * x[:, 1] + 10 * fold
        fits.append(lightgbm.train({"num_leaves": 4, "verbosity": -1}, lightgbm.Dataset(x, target), 5))
    return fits


def test_each_row_is_scored_by_models_that_never_saw_its_fold(
    spark: SparkSession, boosters: list[lightgbm.Booster]
) -> None:
    rng = np.random.default_rng(1)
    count = 200
    x, te = rng.normal(size=(count, 1)), rng.normal(size=(count, FOLDS + 1, 1))
    fold = rng.integers(-1, FOLDS, count)
    data = list(zip(range(count), fold.tolist(), x.tolist(), te.tolist(), strict=True))
    rows = spark.createDataFrame(data, "row long, fold int, x array<double>, te array<array<double>>").repartition(3)
    models = [Fitted("lightgbm", booster.model_to_string().encode()) for booster in boosters]
    layout = Layout((Slot(0, "number"), Slot(1, "target")))
    found = score_by_fold(rows, {"one": models, "two": models[::-1]}, layout).orderBy("row").toPandas()
    by_model = np.column_stack([
        booster.predict(np.hstack([x, te[:, k]]), raw_score=True) for k, booster in enumerate(boosters)
    ])  # fmt: skip
    expected = np.where(fold < 0, by_model.mean(1), by_model[np.arange(count), fold])
    assert found.columns.tolist() == ["row", "fold", "one", "two"]
    np.testing.assert_allclose(found["one"], expected, rtol=1e-12)
    # The reversed list gives fold 0 the model of fold 2, with the encodings of fold 0.
    first = fold == 0
    swapped = boosters[2].predict(np.hstack([x[first], te[first, 0]]), raw_score=True)
    np.testing.assert_allclose(found["two"][first], swapped, rtol=1e-12)


@pytest.fixture(scope="module")
def margins(spark: SparkSession) -> pd.DataFrame:
    """Two models of one truth: one is right, the other has a scale of its own, as a focal model has."""
    rng = np.random.default_rng(2)
    truth = rng.normal(-3, 1.5, 20_000)
    return pd.DataFrame(
        {
            "owner_id": np.arange(len(truth)),
            "label": (rng.random(len(truth)) < 1 / (1 + np.exp(-truth))).astype(float),
            "weight": rng.choice([1.0, 2.0], len(truth)),
            "fold": rng.integers(0, FOLDS, len(truth)),
            "right": truth,
            "odd": 0.4 * truth + 2,
        }
    )


def test_alignment_recovers_slope_and_intercept(spark: SparkSession, margins: pd.DataFrame) -> None:
    found = fit_alignment(spark.createDataFrame(margins), ["right", "odd"], FOLDS)
    assert [len(lines) for lines in found.values()] == [FOLDS + 1] * 2
    np.testing.assert_allclose(np.array(found["right"]), [[1.0, 0.0]] * 4, atol=0.15)
    np.testing.assert_allclose(np.array(found["odd"])[:, 0], 2.5, atol=0.3)
    np.testing.assert_allclose(np.array(found["odd"])[:, 1], -5, atol=0.6)


def test_aligned_probabilities_have_the_true_prior(spark: SparkSession, margins: pd.DataFrame) -> None:
    fold = F.when(F.col("owner_id") < 100, -1).otherwise(F.col("fold")).cast("int")
    table = spark.createDataFrame(margins).withColumn("fold", fold)
    aligned = align(table, fit_alignment(table.where("fold >= 0"), ["right", "odd"], FOLDS)).toPandas()
    assert aligned[["right", "odd"]].stack().between(0, 1).all()
    np.testing.assert_allclose(aligned["odd"], aligned["right"], atol=0.02)
    prior = np.average(margins["label"], weights=margins["weight"])
    assert np.average(aligned["odd"], weights=margins["weight"]) == pytest.approx(prior, rel=0.03)


def test_a_fold_is_aligned_by_the_labels_of_the_others(spark: SparkSession, margins: pd.DataFrame) -> None:
    flipped = margins.copy()
    mine = flipped["fold"] == 1
    flipped.loc[mine, "label"] = 1 - flipped.loc[mine, "label"]
    before = fit_alignment(spark.createDataFrame(margins), ["odd"], FOLDS)["odd"]
    after = fit_alignment(spark.createDataFrame(flipped), ["odd"], FOLDS)["odd"]
    np.testing.assert_allclose(after[1], before[1], rtol=1e-9)
    assert abs(after[0][1] - before[0][1]) > 0.1


def test_bins_stand_for_their_weighted_rows() -> None:
    bins = pd.DataFrame({"margin": [1.0, 2.0], "positive": [3.0, 0.0], "weight": [10.0, 5.0], "fold": [0, 1]})
    margins, labels, weights, folds = binned_rows(bins)
    found = sorted(zip(margins, labels, weights, folds, strict=True))
    assert found == [(1.0, 0.0, 7.0, 0.0), (1.0, 1.0, 3.0, 0.0), (2.0, 0.0, 5.0, 1.0)]
