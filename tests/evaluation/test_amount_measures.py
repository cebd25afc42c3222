"""Errors of amounts with their intervals, against plain numpy and scipy on rows that are really repeated."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from scipy.stats import spearmanr

from remedi_spark.labels.amount_measures import Shots, _correlation, _ranks, measure_amounts
from remedi_spark.maths.label_scale import LabelScale
from remedi_spark.maths.relevance import Relevance

SHOTS = Shots(
    LabelScale("linear", 1.0, 0.0, 1.0, 0.0), (0.0, 10.0, 20.0, 1000.0), (500.0, 50.0, 3.0), many=100, few=20,
    relevance=Relevance(5.0, None, 20.0, zeros_apart=True), zeros_apart=True,
)  # fmt: skip


def amounts(rows: int = 400, seed: int = 0) -> pd.DataFrame:
    """Two rows an owner; many labels of 0, a long tail, predictions in whole numbers so that some are tied."""
    rng = np.random.default_rng(seed)
    truth = rng.lognormal(1.5, 1, rows)
    label = np.where(rng.random(rows) < 0.3, 0, np.minimum(truth, 900))
    return pd.DataFrame({
        "owner_id": [f"o{i // 2}" for i in range(rows)], "label": label,
        "good": np.round(truth), "flat": np.full(rows, 3.0),
    })  # fmt: skip


def test_a_rank_correlation_of_weighted_rows_is_that_of_repeated_ones() -> None:
    rng = np.random.default_rng(1)
    one, other = rng.integers(0, 6, 50), rng.integers(0, 9, 50) + rng.integers(0, 2, 50)
    times = rng.integers(0, 4, 50)
    places = [np.unique(side, return_inverse=True)[1] for side in (one, other)]
    found = _correlation(*(_ranks(place, times) for place in places), times)
    assert found == pytest.approx(spearmanr(np.repeat(one, times), np.repeat(other, times)).statistic)
    assert np.isnan(_correlation(_ranks(np.zeros(50, dtype=int), times), _ranks(places[1], times), times))


def test_every_measure_has_an_interval_around_it(spark: SparkSession) -> None:
    table = amounts()
    scores = {name: F.col(name) for name in ("good", "flat")}
    found = measure_amounts(spark.createDataFrame(table), scores, 30, SHOTS, 50)
    good = found["good"]
    assert set(good.intervals) == set(good.metrics) == {"mae", "rmse", "gmae", "spearman", "value_at_k", "sera"}
    for name, (low, high) in good.intervals.items():
        assert low < good.metrics[name] < high, name
    assert good.metrics["mae"] == pytest.approx(np.abs(table["good"] - table["label"]).mean())
    assert found["flat"].metrics["spearman"] is None
    assert found["flat"].intervals["spearman"] == (None, None)
    squared = (table["good"] - table["label"]) ** 2
    assert good.metrics["sera"] == pytest.approx((squared * SHOTS.relevance(table["label"])).sum())
    few = (table["label"] >= 20).to_numpy()
    assert good.shots["few"]["rows"] == few.sum()
    assert good.shots["few"]["mae"] == pytest.approx(np.abs(table["good"] - table["label"])[few].mean())
    zero = table[table["label"] == 0]
    assert good.shots["zeros"]["rows"] == len(zero) > 0
    assert good.shots["zeros"]["mae"] == pytest.approx(zero["good"].mean())


def test_without_resamples_there_are_no_intervals(spark: SparkSession) -> None:
    found = measure_amounts(spark.createDataFrame(amounts(40)), {"good": F.col("good")}, 3, SHOTS, 0)
    assert found["good"].intervals == {}


def test_a_share_of_the_owners_measures_what_all_of_them_do(spark: SparkSession) -> None:
    rows, scores = spark.createDataFrame(amounts(20_000)), {"good": F.col("good")}
    whole = measure_amounts(rows, scores, 1500, SHOTS, 100)["good"]
    part = measure_amounts(rows, scores, 1500, SHOTS, 100, share=0.5)["good"]
    for name in ("mae", "gmae", "spearman", "value_at_k", "sera"):
        low, high = part.intervals[name]
        width, value = high - low, part.metrics[name]
        assert value != whole.metrics[name], "other rows"
        assert abs(value - whole.metrics[name]) < width, f"{name}: within what half of the owners may differ by"
