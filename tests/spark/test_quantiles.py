"""Quantiles are exact on few rows, and depend on the rows alone on many."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import functions as F

from remedi_spark.columns import ROW_HASH
from remedi_spark.spark.quantiles import quantiles

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

GRID = [i / 100 for i in range(101)]


def test_quantiles_of_few_rows_are_those_of_numpy(spark: SparkSession) -> None:
    values = np.random.default_rng(0).lognormal(size=1_000).round(1)  # many ties
    frame = spark.createDataFrame(pd.DataFrame({"a": values, "b": -values}))
    frame = frame.union(spark.createDataFrame([(None, None)], frame.schema))
    [a, b] = quantiles(frame, ["a", "b"], GRID)
    np.testing.assert_allclose(a, np.quantile(values, GRID), rtol=0, atol=1e-12)
    np.testing.assert_allclose(b, np.quantile(-values, GRID), rtol=0, atol=1e-12)


def test_quantiles_of_many_rows_depend_on_the_rows_alone(spark: SparkSession) -> None:
    draw = np.random.default_rng(0)
    rows = pd.DataFrame({"m": draw.beta(1, 50, 20_000), ROW_HASH: draw.integers(-(2**62), 2**62, 20_000)})
    frame = spark.createDataFrame(rows)
    [few] = quantiles(frame.repartition(1), ["m"], GRID, 2_000_000)  # as if there were more: a tenth is taken
    assert [few] == quantiles(frame.repartition(7).orderBy(F.rand(1)), ["m"], GRID, 2_000_000)
    assert few != pytest.approx(np.quantile(rows["m"], GRID)), "a part of the rows"
    assert np.abs(np.searchsorted(np.sort(rows["m"]), few) / 20_000 - np.linspace(0, 1, 101)).max() < 0.05
