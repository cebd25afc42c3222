"""One suite of checks that every learner passes: on a table of this process, and where it counts on Spark."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pydantic import TypeAdapter
from pyspark.sql import functions as F
from sklearn.metrics import log_loss, roc_auc_score

from remedi_spark.config.chain import ModelConfig
from remedi_spark.models.predictors import load_predictor
from remedi_spark.models.reference import Reference
from remedi_spark.models.registry import learner_for
from remedi_spark.models.spark_examples import SparkExamples
from remedi_spark.models.table_examples import TableExamples
from remedi_spark.storage.fitted import Fitted
from remedi_spark.storage.store import ModelStore
from tests.learners.conftest import LAYOUT

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from tests.learners.conftest import Planted

_TREES = {"num_iterations": 60, "learning_rate": 0.1, "early_stopping": 15}
_NET = {"epochs": 6, "batch_size": 64, "learning_rate": 0.01, "embedding_dim": 4, "n_bins": 8}
# Two workers fit LightGBM by SynapseML; that one worker grows the same trees without it, test_lightgbm_parity.py shows,
# and that a ring of workers does, test_lightgbm_ring.py.
LEARNERS: dict[str, dict[str, Any]] = {
    "additive": {"kind": "additive"},
    "lightgbm": {"kind": "lightgbm", "num_leaves": 7, **_TREES},
    "focal": {"kind": "lightgbm", "objective": "focal", "num_leaves": 7, **_TREES},
    "xgboost": {"kind": "xgboost", "max_depth": 3, **_TREES},
    "catboost": {"kind": "catboost", "depth": 4, **_TREES},
    "catboost_categories": {"kind": "catboost", "depth": 4, "inputs": "codes", "categories": True, **_TREES},
    "mlp": {"kind": "mlp", "hidden": (16,), **_NET},
    "tabm": {"kind": "tabm", "members": 4, "blocks": 1, "width": 16, **_NET},
    "deepfm": {"kind": "deepfm", "hidden": (16,), **_NET},
}
ROWS = 1500
TOLERATED = 0.03
"""AUC that a small model fitted on 1,200 rows may lose against the true log-odds."""

Fit = Callable[..., Fitted]


@pytest.fixture(scope="module")
def rows(plant: Callable[..., Planted]) -> Planted:
    return plant(ROWS, seed=1)


@pytest.fixture(scope="module")
def fresh(plant: Callable[..., Planted]) -> Planted:
    return plant(4000, seed=2)


@pytest.fixture(scope="module", params=LEARNERS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def learner(kind: str) -> Any:
    return learner_for(TypeAdapter(ModelConfig).validate_python(LEARNERS[kind]))


@pytest.fixture(scope="module")
def fitted(learner: Any, rows: Planted) -> Fitted:
    """The model that most checks look at, fitted on a table."""
    return learner.fit(rows.here())


def _auc(fitted: Fitted, rows: Planted) -> float:
    return float(roc_auc_score(rows.target, load_predictor(fitted)(rows.x)))


def test_planted_signal_with_nulls_is_learned(fitted: Fitted, fresh: Planted) -> None:
    best = roc_auc_score(fresh.target, fresh.truth)
    assert _auc(fitted, fresh) > best - TOLERATED


def test_margins_are_log_odds(kind: str, fitted: Fitted, rows: Planted, fresh: Planted) -> None:
    if kind == "focal":
        pytest.skip("a focal model's scale is its own until it is aligned")
    probability = 1 / (1 + np.exp(-load_predictor(fitted)(fresh.x)))
    constant = np.full(len(fresh.target), rows.target.mean())
    oracle = log_loss(fresh.target, 1 / (1 + np.exp(-fresh.truth)))
    gained = log_loss(fresh.target, constant) - log_loss(fresh.target, probability)
    possible = log_loss(fresh.target, constant) - oracle
    assert gained > 0.75 * possible


def test_a_fit_on_spark_is_the_fit_on_the_table_however_rows_are_partitioned(
    learner: Any, fitted: Fitted, rows: Planted, fresh: Planted, spark: SparkSession
) -> None:
    scattered = SparkExamples(rows.frame(spark).repartition(7))
    again = learner.fit(replace(rows.here(), examples=scattered))
    np.testing.assert_array_equal(load_predictor(again)(fresh.x), load_predictor(fitted)(fresh.x))
    assert again.info == fitted.info


def test_shuffled_rows_and_the_same_seed_give_the_same_model(
    learner: Any, fitted: Fitted, rows: Planted, fresh: Planted
) -> None:
    order = np.random.default_rng(11).permutation(ROWS)
    again = learner.fit(replace(rows.here(), examples=TableExamples(rows.table().take(order))))
    np.testing.assert_array_equal(load_predictor(again)(fresh.x), load_predictor(fitted)(fresh.x))


def test_a_stored_model_is_the_same_model(fitted: Fitted, fresh: Planted, tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    store.save_fitted(fitted, "base_models", "one", "fold_0")
    loaded = store.load_fitted("base_models", "one", "fold_0")
    assert loaded.info == fitted.info
    np.testing.assert_array_equal(load_predictor(loaded)(fresh.x), load_predictor(fitted)(fresh.x))


def test_contributions_sum_to_margin_less_reference(fitted: Fitted, fresh: Planted) -> None:
    predictor = load_predictor(fitted)
    usual = Reference.of(np.array([0.0, 0.0, 0.0, 0.0]), LAYOUT)
    contributions, reference = predictor.contributions(fresh.x[:200], usual)
    assert contributions.shape == (200, 4)
    np.testing.assert_allclose(contributions.sum(1) + reference, predictor(fresh.x[:200]), atol=1e-4)
    strongest = np.abs(contributions).mean(0).argsort()[::-1][:2]
    assert set(strongest) == {0, 1}


def test_an_unseen_level_scores_like_some_row(fitted: Fitted, fresh: Planted) -> None:
    unseen = fresh.x.copy()
    unseen[:, 3] = 4
    assert roc_auc_score(fresh.target, load_predictor(fitted)(unseen)) > 0.75


def test_no_rows_give_no_margins(fitted: Fitted) -> None:
    assert load_predictor(fitted)(np.empty((0, 4))).shape == (0,)


def test_rows_of_weight_zero_teach_nothing(learner: Any, fitted: Fitted, rows: Planted, fresh: Planted) -> None:
    """The same rows stand there again with the opposite label: with weight they would cancel the signal out."""
    doubled = type(rows)(
        np.vstack([rows.x, rows.x]),
        np.concatenate([rows.truth, rows.truth]),
        np.concatenate([rows.target, 1 - rows.target]),
        np.concatenate([rows.weight, np.zeros(ROWS)]),
        np.concatenate([rows.valid, rows.valid]),
    )
    weighted = learner.fit(doubled.here())
    assert _auc(weighted, fresh) > _auc(fitted, fresh) - TOLERATED


def test_two_workers_learn_what_one_learns(
    learner: Any, fitted: Fitted, rows: Planted, fresh: Planted, spark: SparkSession
) -> None:
    together = learner.fit(rows.training_set(spark, workers=2))
    assert _auc(together, fresh) > _auc(fitted, fresh) - TOLERATED


@pytest.fixture
def lopsided(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every fit see two partitions, of which one is empty: a constant key sends all rows to one of them."""

    def shape(frame: Any, workers: int) -> Any:
        return frame.repartition(workers, F.lit(0)).sortWithinPartitions("row_hash")

    for module in ("spark_examples", "lightgbm.synapse", "xgboost.together"):
        monkeypatch.setattr(f"remedi_spark.models.{module}.shape", shape)


@pytest.mark.usefixtures("lopsided")
def test_a_worker_without_rows_takes_part(
    learner: Any, fitted: Fitted, rows: Planted, fresh: Planted, spark: SparkSession
) -> None:
    lonely = learner.fit(rows.training_set(spark, workers=2))
    assert _auc(lonely, fresh) > _auc(fitted, fresh) - TOLERATED


def test_real_targets_are_learned_by_squared_error(learner: Any, rows: Planted, fresh: Planted) -> None:
    noisy = replace(rows, target=rows.truth + np.random.default_rng(3).normal(size=ROWS))
    margins = load_predictor(learner.fit(noisy.here(loss="mse")))(fresh.x)
    assert np.mean((margins - fresh.truth) ** 2) < 0.2 * np.var(fresh.truth)
