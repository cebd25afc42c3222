"""``inputs: codes``: a member that must not see an encoding does not depend on it, whatever its kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from remedi_spark.config.chain import ModelConfig
from remedi_spark.models.cross_fit import FoldFits, fit_fold
from remedi_spark.models.predictors import load_predictor
from remedi_spark.samples.layout import Layout, Slot

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

LAYOUT = Layout(
    (Slot(0, "number"), Slot(1, "code", 4), Slot(1, "frequency"), Slot(2, "frequency"), Slot(1, "target"),
     Slot(2, "target"))
)  # fmt: skip
"""A number, a category with codes, and one with too many levels for codes."""
HIDDEN = [2, 4]
ROWS = 800


@pytest.fixture(scope="module")
def rows(spark: SparkSession) -> Any:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, 6))
    x[:, 1] = rng.integers(0, 3, ROWS)
    target = (rng.random(ROWS) < 1 / (1 + np.exp(-(x.sum(1) - 1)))).astype(float)
    table = [
        (row[:4].tolist(), [row[4:].tolist()] * 3, float(y), 1.0, i % 2, i, i)
        for i, (row, y) in enumerate(zip(x, target, strict=True))
    ]
    schema = "x array<double>, te array<array<double>>, t double, weight double, fold int, block int, row_hash long"
    return spark.createDataFrame(table, schema)


@pytest.mark.parametrize("kind", ["lightgbm", "xgboost", "additive", "mlp"])
def test_hidden_encodings_change_nothing(rows: Any, kind: str) -> None:
    assert LAYOUT.beside_codes() == HIDDEN
    plan = FoldFits(LAYOUT, 2, "t", "logistic", 0.5, ROWS, 0.2, 1, 0)
    margins = {}
    for inputs in ("all", "codes"):
        model = TypeAdapter(ModelConfig).validate_python({"kind": kind, "inputs": inputs})
        predict = load_predictor(fit_fold(rows, model, plan, 0))
        fresh = np.random.default_rng(1).normal(size=(300, 6))
        fresh[:, 1] = 1
        other = fresh.copy()
        other[:, HIDDEN] += 3.0
        margins[inputs] = predict(fresh), predict(other)
    np.testing.assert_array_equal(*margins["codes"])
    assert np.abs(np.subtract(*margins["all"])).mean() > 0.1
