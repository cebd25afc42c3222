"""LightGBM through SynapseML, and inside a Spark task, is LightGBM: same trees, same margins, same early stop."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import lightgbm
import numpy as np
import pytest

from remedi_spark.config.chain import LightGBMConfig
from remedi_spark.models.lightgbm.fit import LightGBMLearner
from remedi_spark.models.predictors import load_predictor
from remedi_spark.spark import jvm
from remedi_spark.spark.builds import build_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from tests.learners.conftest import Planted

CONFIG = LightGBMConfig(num_iterations=300, learning_rate=0.2, num_leaves=15, early_stopping=10, lambda_l2=1.0)


PARAMETERS = {
    "learning_rate": CONFIG.learning_rate, "num_leaves": CONFIG.num_leaves,
    "min_data_in_leaf": CONFIG.min_data_in_leaf, "lambda_l2": CONFIG.lambda_l2, "num_threads": 1,
    "deterministic": True, "force_col_wise": True, "verbosity": -1,
}  # fmt: skip
OBJECTIVES = {"logistic": ("binary", "binary_logloss"), "mse": ("regression", "l2")}


def _stopped(rows: Planted, order: Any, loss: str) -> lightgbm.Booster:
    """Fit natively on the same rows in the same order, and stop early."""
    learn, check = (order[rows.valid[order] == valid] for valid in (False, True))
    train = lightgbm.Dataset(rows.x[learn], rows.target[learn], weight=rows.weight[learn])
    valid = train.create_valid(rows.x[check], rows.target[check], weight=rows.weight[check])
    stop = lightgbm.early_stopping(CONFIG.early_stopping, verbose=False)
    return lightgbm.train(_parameters(loss), train, CONFIG.num_iterations, [valid], callbacks=[stop])


def _refitted(rows: Planted, order: Any, loss: str, rounds: int) -> lightgbm.Booster:
    train = lightgbm.Dataset(rows.x[order], rows.target[order], weight=rows.weight[order])
    return lightgbm.train(_parameters(loss), train, rounds)


def _parameters(loss: str) -> dict[str, Any]:
    objective, metric = OBJECTIVES[loss]
    return {**PARAMETERS, "objective": objective, "metric": metric, "seed": 7}


@pytest.mark.parametrize("refit", [False, True])
@pytest.mark.parametrize("loss", OBJECTIVES)
def test_trees_and_margins_are_native_ones(plant: Callable[..., Planted], loss: str, refit: bool) -> None:
    rows = _rows_for(plant, loss)
    config = CONFIG.model_copy(update={"engine": "native", "refit_below": 1500 if refit else 0})
    fitted = LightGBMLearner(config).fit(rows.here(loss=loss, rows=1500))
    order = np.argsort(rows.table()["row_hash"].to_numpy())
    native = _stopped(rows, order, loss)
    assert 5 < native.best_iteration < CONFIG.num_iterations - CONFIG.early_stopping, "it has to stop early"
    if refit:
        native = _refitted(rows, order, loss, native.best_iteration)
    assert fitted.info["trees"] == (native.num_trees() if refit else native.best_iteration)
    fresh = plant(1000, seed=2).x
    np.testing.assert_allclose(load_predictor(fitted)(fresh), native.predict(fresh, raw_score=True), atol=1e-10)


def _rows_for(plant: Callable[..., Planted], loss: str) -> Planted:
    rows = plant(1500, seed=1)
    real = type(rows)(rows.x, rows.truth, rows.truth + rows.target, rows.weight, rows.valid)
    return real if loss == "mse" else rows


@pytest.mark.synapseml
@pytest.mark.parametrize("refit", [False, True])
@pytest.mark.parametrize("loss", OBJECTIVES)
def test_synapseml_grows_the_trees_of_a_table(
    plant: Callable[..., Planted], spark: SparkSession, loss: str, refit: bool
) -> None:
    rows = _rows_for(plant, loss)
    config = CONFIG.model_copy(update={"engine": "native", "refit_below": 1500 if refit else 0})
    here = LightGBMLearner(config).fit(rows.here(loss=loss, rows=1500))
    there = LightGBMLearner(config.model_copy(update={"engine": "synapseml"}))
    fitted = there.fit(rows.training_set(spark, loss=loss, rows=1500))
    assert fitted.info["trees"] == here.info["trees"]
    fresh = plant(1000, seed=2).x
    np.testing.assert_allclose(load_predictor(fitted)(fresh), load_predictor(here)(fresh), atol=1e-10)


@pytest.mark.synapseml
@pytest.mark.parametrize("settings", [
    {"objective": "focal"},
    {"extra_trees": True, "feature_fraction": 0.6, "bagging_fraction": 0.7, "lambda_l1": 1.0, "max_depth": 3,
     "max_bin": 31, "min_data_in_leaf": 5},
])  # fmt: skip
def test_both_engines_grow_the_same_trees(
    plant: Callable[..., Planted], spark: SparkSession, settings: dict[str, Any]
) -> None:
    rows = plant(1500, seed=1)
    data = rows.training_set(spark, rows=1500)
    fitted = [
        LightGBMLearner(CONFIG.model_copy(update={"engine": engine, **settings})).fit(data)
        for engine in ("synapseml", "native")
    ]
    assert fitted[0].info == fitted[1].info
    fresh = plant(1000, seed=2).x
    one, other = (load_predictor(each)(fresh) for each in fitted)
    np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize(
    ("engine", "rows", "workers", "native"),
    [("auto", 1000, 1, True), ("auto", 10_000_000, 1, False), ("auto", 1000, 2, False), ("synapseml", 1000, 1, False),
     ("native", 10_000_000, 1, True), ("native", 1000, 2, True)],
)  # fmt: skip
def test_synapseml_fits_what_is_large_or_spread_where_it_is_found(
    plant: Callable[..., Planted], spark: SparkSession, monkeypatch: pytest.MonkeyPatch,
    engine: str, rows: int, workers: int, native: bool,
) -> None:  # fmt: skip
    learner = LightGBMLearner(LightGBMConfig(engine=engine))
    data = plant(10).training_set(spark, rows=rows, workers=workers)
    # In the thread of a fit, whose class loader is another than the main thread's.
    with ThreadPoolExecutor() as pool:
        assert pool.submit(learner._is_native, data).result() is (
            native or (engine == "auto" and not _has_synapseml_for(spark))
        )
    monkeypatch.setattr(jvm, "SYNAPSEML_CLASS", "no.such.Class")
    assert learner._is_native(data) is (native or engine == "auto")


def _has_synapseml_for(spark: SparkSession) -> bool:
    return build_of(spark.version).synapseml is not None
