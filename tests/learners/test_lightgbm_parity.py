"""LightGBM through SynapseML is native LightGBM: same trees, same margins, same early stop."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import lightgbm
import numpy as np
import pytest

from remedi_spark.config.chain import LightGBMConfig
from remedi_spark.learners.lightgbm import LightGBMLearner
from remedi_spark.learners.predictors import load_predictor

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from tests.learners.conftest import Planted

CONFIG = LightGBMConfig(num_iterations=300, learning_rate=0.2, num_leaves=15, early_stopping=10, lambda_l2=1.0)


def _native(rows: Planted, order: Any, seed: int, loss: str) -> lightgbm.Booster:
    """Fit natively on the same rows in the same order."""
    learn, check = (order[rows.valid[order] == valid] for valid in (False, True))
    parameters = {
        "objective": "binary" if loss == "logistic" else "regression", "learning_rate": CONFIG.learning_rate,
        "metric": "binary_logloss" if loss == "logistic" else "l2", "num_leaves": CONFIG.num_leaves,
        "min_data_in_leaf": CONFIG.min_data_in_leaf, "lambda_l2": CONFIG.lambda_l2, "num_threads": 1,
        "deterministic": True, "force_col_wise": True, "seed": seed, "verbosity": -1,
    }  # fmt: skip
    train = lightgbm.Dataset(rows.x[learn], rows.target[learn], weight=rows.weight[learn])
    valid = train.create_valid(rows.x[check], rows.target[check], weight=rows.weight[check])
    stop = lightgbm.early_stopping(CONFIG.early_stopping, verbose=False)
    return lightgbm.train(parameters, train, CONFIG.num_iterations, [valid], callbacks=[stop])


@pytest.mark.parametrize("loss", ["logistic", "mse"])
def test_trees_and_margins_are_native_ones(plant: Callable[..., Planted], spark: SparkSession, loss: str) -> None:
    rows = plant(1500, seed=1)
    if loss == "mse":
        rows = type(rows)(rows.x, rows.truth, rows.truth + rows.target, rows.weight, rows.valid)
    fitted = LightGBMLearner(CONFIG).fit(rows.training_set(spark, loss=loss))
    hashes = np.array([row["row_hash"] for row in rows.frame(spark).select("row_hash").collect()])
    native = _native(rows, np.argsort(hashes), seed=7, loss=loss)
    assert 5 < native.best_iteration < CONFIG.num_iterations - CONFIG.early_stopping, "it has to stop early"
    assert fitted.info["trees"] == native.best_iteration
    fresh = plant(1000, seed=2).x
    np.testing.assert_allclose(load_predictor(fitted)(fresh), native.predict(fresh, raw_score=True), atol=1e-10)
