"""Contributions of trees are those of ``shap`` and of CatBoost against one background row, where they overlap."""

from __future__ import annotations

from typing import Any

import lightgbm
import numpy as np
import pytest
import shap

from remedi_spark.models.catboost.predict import load
from remedi_spark.models.contract import Array
from remedi_spark.models.predictors import load_predictor
from remedi_spark.models.reference import Reference
from remedi_spark.storage.fitted import Fitted
from tests.learners.test_baseline_shapley import (
    CATEGORIES,
    LAYOUT,
    NUMBERS,
    USUAL,
    _catboost,
    _catboost_rows,
    _lightgbm,
    _odd_rows,
    _rows,
)  # fmt: skip

BY_SLOT = Reference(USUAL, np.arange(LAYOUT.width), LAYOUT.width)
"""Every slot a feature of its own, which is all that the libraries know."""
NULLS = [1, 2]
"""The slots that have nulls in training."""


def _by_shap(fitted: Fitted, x: Array) -> Array:
    booster = lightgbm.Booster(model_str=fitted.payload.decode())
    explainer = shap.TreeExplainer(booster, data=USUAL[None], feature_perturbation="interventional")
    return np.asarray(explainer.shap_values(x, check_additivity=False))


def _ours(fitted: Fitted, x: Array) -> Array:
    return load_predictor(fitted).contributions(x, BY_SLOT)[0]


@pytest.mark.parametrize("settings", [{}, {"num_leaves": 2}, {"num_leaves": 40, "extra_trees": True}])
def test_lightgbm_on_numbers_gives_the_values_of_shap(settings: dict[str, Any]) -> None:
    x = np.vstack([_rows(200, seed=3)[0], _odd_rows()]) + 0.002  # off the thresholds, where shap may go the other way
    x = x[~np.isnan(np.delete(x, NULLS, axis=1)).any(axis=1)]
    fitted = _lightgbm(**settings)
    found = _ours(fitted, x)
    np.testing.assert_allclose(found, _by_shap(fitted, x), atol=1e-6)
    assert np.ptp(found) > 0.1


def test_shap_misreads_sets_of_codes_and_nulls_that_are_new() -> None:
    """Why it is not what computes the contributions: they must add up to the change of the margin."""
    for settings, x in (({"codes": [3, 4], "max_cat_to_onehot": 1}, _rows(50, seed=3)[0]), ({}, _odd_rows()[[1]])):
        fitted = _lightgbm(**settings)
        predictor = load_predictor(fitted)
        change = predictor(x) - predictor(USUAL[None])
        np.testing.assert_allclose(_ours(fitted, x).sum(axis=1), change, atol=1e-12)
        assert np.abs(_by_shap(fitted, x).sum(axis=1) - change).max() > 0.1


def _by_catboost(fitted: Fitted, columns: Any, x: Array) -> Array:
    rows, usual = columns.pool(x, np.zeros(len(x))), columns.pool(USUAL[None], np.zeros(1))
    values = load(fitted.payload).get_feature_importance(rows, "ShapValues", reference_data=usual, thread_count=1)
    by_slot = np.zeros(x.shape)
    by_slot[:, [*columns.numbers, *columns.categories]] = values[:, :-1]
    return by_slot


@pytest.mark.parametrize(
    ("columns", "settings"),
    [
        (NUMBERS, {}), (NUMBERS, {"depth": 8}), (CATEGORIES, {"one_hot_max_size": 10}),
        (CATEGORIES, {"one_hot_max_size": 1, "max_ctr_complexity": 1}),
    ],
)  # fmt: skip
def test_catboost_gives_its_own_values_against_a_reference_row(columns: Any, settings: dict[str, Any]) -> None:
    fitted, x = _catboost(columns, **settings), _catboost_rows()
    np.testing.assert_allclose(_ours(fitted, x), _by_catboost(fitted, columns, x), atol=1e-9)
