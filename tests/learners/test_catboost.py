"""CatBoost inside a Spark task is CatBoost: the same margins as the library gives for the same rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from catboost import CatBoostClassifier, CatBoostRegressor

from remedi_spark.config.chain import CatBoostConfig
from remedi_spark.models.catboost.fit import CatBoostLearner
from remedi_spark.models.catboost.predict import load
from remedi_spark.models.predictors import load_predictor
from remedi_spark.models.spark_examples import SparkExamples

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from tests.learners.conftest import Planted

ROWS = 1500
CONFIG = CatBoostConfig(num_iterations=300, learning_rate=0.2, depth=4, early_stopping=10)


def _table(rows: Any, *, categories: bool) -> pd.DataFrame:
    frame = pd.DataFrame(rows)
    return frame.astype({3: int}).astype({3: str}) if categories else frame


def _native(rows: Planted, order: Any, kind: Any, *, categories: bool, refit: bool) -> Any:
    table = _table(rows.x, categories=categories)
    settings = {
        "learning_rate": CONFIG.learning_rate, "depth": CONFIG.depth, "l2_leaf_reg": CONFIG.l2_leaf_reg,
        "random_seed": 7, "thread_count": 1, "verbose": False, "allow_writing_files": False,
        "cat_features": [3] if categories else None,
    }  # fmt: skip
    learn, check = (order[rows.valid[order] == valid] for valid in (False, True))
    model = kind(iterations=CONFIG.num_iterations, **settings)
    model.fit(
        table.iloc[learn], rows.target[learn], eval_set=(table.iloc[check], rows.target[check]),
        early_stopping_rounds=CONFIG.early_stopping,
    )  # fmt: skip
    assert 5 < model.tree_count_ < CONFIG.num_iterations - CONFIG.early_stopping, "it has to stop early"
    if refit:
        return kind(iterations=model.tree_count_, **settings).fit(table.iloc[order], rows.target[order])
    return model


@pytest.mark.parametrize("categories", [False, True])
@pytest.mark.parametrize(("loss", "refit"), [("logistic", True), ("logistic", False), ("mse", False)])
def test_margins_are_native_ones(plant: Callable[..., Planted], loss: str, refit: bool, categories: bool) -> None:
    rows = plant(ROWS, seed=1)
    if loss == "mse":
        rows = type(rows)(rows.x, rows.truth, rows.truth + rows.target, rows.weight, rows.valid)
    config = CONFIG.model_copy(update={"categories": categories, "refit_below": ROWS if refit else 0})
    fitted = CatBoostLearner(config).fit(rows.here(loss=loss, rows=ROWS))
    order = np.argsort(rows.table()["row_hash"].to_numpy())
    kind = CatBoostClassifier if loss == "logistic" else CatBoostRegressor
    native = _native(rows, order, kind, categories=categories, refit=refit)
    assert fitted.info["trees"] == native.tree_count_
    fresh = plant(1000, seed=2).x
    expected = native.predict(_table(fresh, categories=categories), prediction_type="RawFormulaVal")
    np.testing.assert_allclose(load_predictor(fitted)(fresh), expected, atol=1e-6)


def test_of_too_many_rows_all_positives_and_a_share_of_the_others_are_trained_on(
    plant: Callable[..., Planted], spark: SparkSession
) -> None:
    rows = plant(ROWS, seed=1)
    positives = int(rows.target.sum())
    data = rows.training_set(spark, rows=ROWS, positives=positives)
    hashed = rows.frame(spark).selectExpr("x", "target", "weight", "valid", "xxhash64(row_hash) AS row_hash")
    config = CONFIG.model_copy(update={"max_rows": 1000, "refit_below": ROWS})
    all_rows, some = (
        CatBoostLearner(one).fit(replace(data, examples=SparkExamples(hashed)))
        for one in (CONFIG.model_copy(update={"refit_below": ROWS}), config)
    )
    weights = [load(one.payload).get_leaf_weights().sum() / one.info["trees"] for one in (all_rows, some)]
    assert weights[0] == ROWS
    others = max(1000 - positives, 500)
    assert weights[1] == pytest.approx(ROWS, rel=5 / others**0.5)
    assert all_rows.info["rows_used"] == ROWS
    assert some.info["rows_used"] == pytest.approx(positives + others, abs=5 * others**0.5)
