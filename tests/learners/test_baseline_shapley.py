"""Contributions of trees are Shapley values of the game between a row and the reference row: by all its coalitions."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from typing import Any

import lightgbm
import numpy as np
import pytest
from catboost import CatBoost

from remedi_spark.maths.label_scale import LabelScale
from remedi_spark.models.catboost import reasons as catboost_reasons
from remedi_spark.models.catboost.fit import serialized
from remedi_spark.models.catboost.json_model import as_json, slots_of_splits
from remedi_spark.models.catboost.predict import Columns, load
from remedi_spark.models.contract import Array, Predictor
from remedi_spark.models.lightgbm import reasons as lightgbm_reasons
from remedi_spark.models.lightgbm.trees import Question, read_trees
from remedi_spark.models.predictors import load_predictor
from remedi_spark.models.reference import Reference
from remedi_spark.samples.layout import Layout, Made, Slot
from remedi_spark.storage.fitted import Fitted

LAYOUT = Layout((
    Slot(0, "number"), Slot(1, "number"), Slot(2, "number"), Slot(3, "code", 6), Slot(4, "code", 4),
    Slot(3, "frequency"), Slot(4, "frequency"), Slot(3, "target"), Slot(4, "target"),
))  # fmt: skip
"""Three numbers and two categories of three slots each."""
FEATURES = 5
USUAL = np.array([0.1, -0.2, np.nan, 0.0, 1.0, 3.0, 2.0, 0.4, 0.1])


def _rows(count: int, seed: int) -> tuple[Array, Array]:
    """Nulls and zeros among the numbers; the target needs interactions."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, LAYOUT.width)).round(2)
    x[:, 3], x[:, 4] = rng.integers(0, 5, count), rng.integers(0, 3, count)
    x[:, 5], x[:, 7] = np.log1p(5 - x[:, 3]), np.sin(x[:, 3])
    x[rng.random(count) < 0.2, 1] = np.nan
    x[rng.random(count) < 0.5, 2] = np.nan
    x[rng.random(count) < 0.2, 0] = 0.0
    target = x[:, 0] * np.where(np.isnan(x[:, 1]), 1, x[:, 1]) + (x[:, 3] % 2) * np.nan_to_num(x[:, 2]) + x[:, 4]
    return x, target + np.isin(x[:, 3], [1, 4]) * x[:, 0]


def _odd_rows() -> Array:
    """Rows as nobody trained on: unseen codes, nulls, far values, single slots or all of them as in the reference."""
    x = _rows(30, seed=1)[0]
    x[0], x[1] = USUAL, np.nan
    x[2, 3:5], x[3, 3:5], x[4, 3] = [99, 7], [5, 3], np.nan
    x[5, :3], x[6, :3] = [np.inf, -np.inf, 1e300], [-0.0, 1e-40, 0.0]
    x[7, [0, 3]], x[8, 5:] = USUAL[[0, 3]], USUAL[5:]
    return x


def _by_all_coalitions(predict: Any, x: Array) -> Array:
    owners = np.array([slot.feature for slot in LAYOUT.slots])
    coalitions = list(itertools.product([False, True], repeat=FEATURES))
    games = {one: predict(np.where(np.array(one)[owners], x, USUAL)) for one in coalitions}
    found = np.zeros((len(x), FEATURES))
    for one, feature in itertools.product(coalitions, range(FEATURES)):
        if not one[feature]:
            size = sum(one)
            weight = math.factorial(size) * math.factorial(FEATURES - size - 1) / math.factorial(FEATURES)
            joined = (*one[:feature], True, *one[feature + 1 :])
            found[:, feature] += weight * (games[joined] - games[one])
    return found


def _explained(predictor: Predictor, x: Array) -> Array:
    """Return contributions, which must add up to the change from the reference row."""
    found, start = predictor.contributions(x, Reference.of(USUAL, LAYOUT))
    np.testing.assert_allclose(start, np.repeat(predictor(USUAL[None]), len(x)), atol=1e-12)
    np.testing.assert_allclose(found.sum(axis=1) + start, predictor(x), atol=1e-12)
    return found


def _lightgbm(**settings: Any) -> Fitted:
    x, target = _rows(600, seed=0)
    codes = settings.pop("codes", [])
    fixed = {"verbose": -1, "num_threads": 1, "min_data_in_leaf": 5, "min_data_per_group": 5, "cat_smooth": 1}
    data = lightgbm.Dataset(x, target, categorical_feature=codes)
    booster = lightgbm.train({**fixed, "num_leaves": 15, **settings}, data, 20)
    return Fitted("lightgbm", booster.model_to_string().encode(), {"init_score": 0.25, "shift": -0.5})


@pytest.mark.parametrize(
    "settings",
    [
        {}, {"codes": [3]}, {"codes": [3, 4], "max_cat_to_onehot": 1}, {"use_missing": False},
        {"zero_as_missing": True}, {"num_leaves": 2}, {"num_leaves": 40, "extra_trees": True},
    ],
)  # fmt: skip
def test_lightgbm_gives_shapley_values(settings: dict[str, Any]) -> None:
    predictor, x = load_predictor(_lightgbm(**settings)), _odd_rows()
    np.testing.assert_allclose(_explained(predictor, x), _by_all_coalitions(predictor, x), atol=1e-12)


def test_the_models_tried_ask_all_kinds_of_questions() -> None:
    def questions(**settings: Any) -> set[Question]:
        trees = read_trees(_lightgbm(**settings).payload.decode())
        return {question for tree in trees for question in tree.questions}

    sets = [question.codes for question in questions(codes=[3, 4], max_cat_to_onehot=1) if question.codes]
    assert max(map(len, sets)) > 1
    kinds = [{}, {"use_missing": False}, {"zero_as_missing": True}]
    assert [max(question.missing for question in questions(**one)) for one in kinds] == [2, 0, 1]
    combined = _splits(_catboost(CATEGORIES, depth=6, one_hot_max_size=1, max_ctr_complexity=3))
    assert max(len(slots) for levels in combined for slots in levels) > 1


def _splits(fitted: Fitted) -> list[list[frozenset[int]]]:
    columns = Columns.of(LAYOUT, native=bool(fitted.info["categories"]))
    return slots_of_splits(as_json(load(fitted.payload)), columns.numbers, columns.categories)


def test_lightgbm_without_a_split_gives_nothing() -> None:
    x, _ = _rows(100, seed=0)
    flat = lightgbm.train({"verbose": -1, "min_gain_to_split": 1e9}, lightgbm.Dataset(x, np.ones(100)), 2)
    assert "split_feature=\n" in flat.model_to_string()
    predictor = load_predictor(Fitted("lightgbm", flat.model_to_string().encode()))
    assert not _explained(predictor, x).any()


def test_how_many_rows_come_together_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    predictor, x = load_predictor(_lightgbm(codes=[3])), _rows(100, seed=2)[0]
    whole = _explained(predictor, x)
    order = np.random.default_rng(0).permutation(100)
    np.testing.assert_allclose(_explained(predictor, x[order]), whole[order], atol=1e-12)
    for cells in (1, 7 * 15 * 20):
        monkeypatch.setattr(lightgbm_reasons, "_CELLS", cells)
        np.testing.assert_allclose(_explained(predictor, x), whole, atol=1e-12)
    assert _explained(predictor, x[:0]).shape == (0, FEATURES)


def test_a_path_may_be_as_long_as_there_are_features() -> None:
    count = 300
    x, few = np.eye(count), {"min_data_in_leaf": 1, "min_data_in_bin": 1}
    settings = {"verbose": -1, "num_threads": 1, "num_leaves": count, **few}
    booster = lightgbm.train(settings, lightgbm.Dataset(x, np.exp(-np.arange(count) / 40)), 2)
    longest = max(len(leaf.wrong) for leaf in read_trees(booster.model_to_string())[0].leaves(defaultdict(int)))
    assert longest > 200
    predictor, ends = load_predictor(Fitted("lightgbm", booster.model_to_string().encode())), np.array([0.0, 1.0])
    for usual in ends:
        rows = np.vstack([np.repeat(ends[:, None], count, axis=1), x])
        found, start = predictor.contributions(rows, Reference(np.full(count, usual), np.arange(count), count))
        np.testing.assert_allclose(start, predictor(np.full((1, count), usual))[0])
        np.testing.assert_allclose(found.sum(axis=1) + start, predictor(rows), atol=1e-9)


def test_another_reference_row_is_another_game() -> None:
    predictor, x = load_predictor(_lightgbm()), _odd_rows()
    before = _explained(predictor, x)
    other, start = predictor.contributions(x, Reference.of(x[9], LAYOUT))
    assert not other[9].any()
    np.testing.assert_allclose(start, predictor(x[[9]])[0])
    np.testing.assert_array_equal(_explained(predictor, x), before)


def _catboost(columns: Columns, depth: int = 4, **settings: Any) -> Fitted:
    x, target = _rows(600, seed=0)
    fixed = {"thread_count": 1, "verbose": False, "allow_writing_files": False, "random_seed": 0}
    model = CatBoost({**fixed, "iterations": 25, "depth": depth, "learning_rate": 0.3, **settings})
    model.fit(columns.pool(x, target))
    return Fitted("catboost", serialized(model), {"categories": columns.categories, "shift": -0.5})


def _catboost_rows() -> Array:
    """CatBoost's categories are codes, never null."""
    x = _odd_rows()
    x[:, 3:5] = np.nan_to_num(x[:, 3:5])
    return x


NUMBERS, CATEGORIES = (Columns.of(LAYOUT, native=native) for native in (False, True))


@pytest.mark.parametrize(
    ("columns", "settings"),
    [
        (NUMBERS, {}), (NUMBERS, {"depth": 8}), (NUMBERS, {"nan_mode": "Max"}), (CATEGORIES, {"one_hot_max_size": 10}),
        (CATEGORIES, {"one_hot_max_size": 1, "max_ctr_complexity": 1}),
        (CATEGORIES, {"one_hot_max_size": 4, "max_ctr_complexity": 1, "simple_ctr": ["Borders", "Counter"]}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("few", [0, 32])
def test_catboost_gives_shapley_values(
    columns: Columns, settings: dict[str, Any], few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catboost_reasons, "_FEW", few)
    predictor, x = load_predictor(_catboost(columns, **settings)), _catboost_rows()
    np.testing.assert_allclose(_explained(predictor, x), _by_all_coalitions(predictor, x), atol=1e-12)


def test_combinations_of_categories_add_up_and_spare_what_is_as_usual() -> None:
    fitted = _catboost(CATEGORIES, depth=6, one_hot_max_size=1, max_ctr_complexity=3)
    predictor, x = load_predictor(fitted), _catboost_rows()
    found = _explained(predictor, x)
    assert found.any(axis=0).all()
    same = Reference.of(USUAL, LAYOUT).differs(x) == 0
    assert same.sum() > 20
    assert not found[same].any()


def test_deep_catboost_trees_have_tree_shap() -> None:
    predictor, x = load_predictor(_catboost(NUMBERS, depth=9, iterations=3)), _catboost_rows()
    found, start = predictor.contributions(x, Reference.of(USUAL, LAYOUT))
    np.testing.assert_allclose(found.sum(axis=1) + start, predictor(x), atol=1e-9)
    assert start[0] != predictor(USUAL[None])[0], "the mean training row is its reference"


def test_a_scale_seen_through_a_log_keeps_the_reference() -> None:
    scale = LabelScale("asinh", 15.0, 0.4, 1.3, 0.0)
    predictor = load_predictor(Fitted("lightgbm", _lightgbm().payload, {"label_scale": scale.to_dict()}))
    assert _explained(predictor, _odd_rows()).any()


def test_what_is_made_of_two_numbers_counts_for_those_that_differ() -> None:
    slots = (Slot(0, "number"), Slot(1, "number"), Slot(2, "number"), Slot(2, "made", made=Made("ratio", 2, 0)))
    usual = Reference.of(np.array([2.0, 3.0, 4.0, 2.0]), Layout(slots))
    assert (usual.features, usual.size) == (3, 4)
    x = np.array([[1.0, 3.0, 4.0, 4.0], [2.0, 9.0, 2.0, 1.0], [4.0, 3.0, 2.0, 0.5], [2.0, 3.0, np.nan, np.nan]])
    by_player = usual.by_player(np.tile([1.0, 10.0, 100.0, 1000.0], (4, 1)))
    found = usual.by_feature(x, by_player)
    np.testing.assert_allclose(found, [[1001, 10, 100], [1, 10, 1100], [501, 10, 600], [1, 10, 1100]])


@pytest.mark.parametrize("kind", ["lightgbm", "catboost"])
def test_with_what_is_made_the_game_has_one_player_more(kind: str) -> None:
    x = np.random.default_rng(0).normal(size=(500, 3))
    x[:, 2] = x[:, 0] - x[:, 1]
    predictor = load_predictor(_on_three(kind, x, x[:, 2] + x[:, 0]))
    numbers = Slot(0, "number"), Slot(1, "number")
    two = Reference.of(x[0], Layout((*numbers, Slot(0, "made", made=Made("difference", 0, 1)))))
    three, start = predictor.contributions(x, Reference.of(x[0], Layout((*numbers, Slot(2, "number")))))
    found = two.by_feature(x, predictor.contributions(x, two)[0])
    assert np.abs(three[:, 2]).max() > 0.1
    np.testing.assert_allclose(found, three[:, :2] + three[:, 2:] / 2, atol=1e-9)
    np.testing.assert_allclose(found.sum(axis=1) + start, predictor(x), atol=1e-6)


def _on_three(kind: str, x: Array, target: Array) -> Fitted:
    if kind == "lightgbm":
        settings = {"num_threads": 1, "verbose": -1, "num_leaves": 8}
        return Fitted(kind, lightgbm.train(settings, lightgbm.Dataset(x, target), 20).model_to_string().encode())
    model = CatBoost({"thread_count": 1, "verbose": False, "allow_writing_files": False, "iterations": 20, "depth": 4})
    model.fit(Columns([0, 1, 2], []).pool(x, target))
    return Fitted(kind, serialized(model), {"categories": [], "shift": 0.0})
