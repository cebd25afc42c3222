"""What aggregates on Spark find of labels is what numpy finds of the same rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from pyspark.sql import functions as F

from remedi_spark.labels.counts import fit_relevance, fit_smearing, smeared_column
from remedi_spark.maths.label_scale import LabelScale
from remedi_spark.maths.relevance import Relevance
from remedi_spark.maths.smearing import Smearing

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.where(rng.random(300) < 0.2, 0.0, rng.lognormal(1, 1, 300) - 0.5)


@pytest.fixture(scope="module")
def rows(spark: SparkSession, labels: np.ndarray) -> DataFrame:
    margins = np.random.default_rng(1).normal(size=len(labels))
    data = list(zip(labels.tolist(), margins.tolist(), range(len(labels)), strict=True))
    return spark.createDataFrame(data, "label double, mean double, row_hash long").repartition(3)


@pytest.mark.parametrize("zeros_apart", [True, False])
def test_relevance(rows: DataFrame, labels: np.ndarray, zeros_apart: bool) -> None:
    found, expected = fit_relevance(rows, zeros_apart=zeros_apart), Relevance.of(labels, zeros_apart=zeros_apart)
    assert found.median == pytest.approx(expected.median)
    assert (found.low, found.high, found.zeros_apart) == (expected.low, expected.high, zeros_apart)
    assert found.high is not None and found.low is None


@pytest.mark.parametrize("kind", ["asinh", "linear"])
def test_smearing(rows: DataFrame, labels: np.ndarray, kind: str) -> None:
    scale = LabelScale(kind, 3.0, 0.4, 0.9, 0.0)  # type: ignore[arg-type]
    frame = rows.toPandas()
    expected = Smearing.of(scale, scale.margin(frame["label"]) - frame["mean"])
    found = fit_smearing(rows, scale, F.col("mean"))
    assert (found.even, found.odd) == pytest.approx((expected.even, expected.odd))
    amounts = rows.select("mean", smeared_column(found, F.col("mean")).alias("amount")).toPandas()
    np.testing.assert_allclose(amounts["amount"], expected(amounts["mean"]))
