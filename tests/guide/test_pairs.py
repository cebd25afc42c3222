"""Candidates, hidden items, content, lists and their measures, without Spark."""

import ast
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import ndcg_score

from remedi_spark.config.guide import GuideConfig
from remedi_spark.errors import InputError
from remedi_spark.guides.blocks import Block, Seen, allowed_at, pairs_at, training_pairs
from remedi_spark.guides.lists import reasons
from remedi_spark.guides.maths.content import similarity
from remedi_spark.guides.maths.items import Items, item_sums
from remedi_spark.guides.maths.measure import best_items, list_measures
from remedi_spark.guides.maths.pairs import Catalogue, Scene
from remedi_spark.guides.maths.recommend import RecommenderSettings, learn, nearest_mean
from remedi_spark.guides.maths.views import View, in_sample, uniform
from remedi_spark.guides.model import Calendar
from remedi_spark.guides.passes import _packed, _unpacked
from tests.guide.conftest import ITEMS, log_of

HORIZON, N = 28, len(ITEMS)
T = (pd.Timestamp("2026-05-20") - pd.Timestamp("1970-01-01")).days


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    frame = log_of()
    days = (frame["day"] - pd.Timestamp("1970-01-01")).dt.days
    found = pd.DataFrame({"owner_id": frame["owner"], "item": frame["category"].map(ITEMS.index), "day": days})
    found = found.assign(known=days, lines=1.0, amount=frame["spend"])
    found = found.groupby(["owner_id", "item", "day", "known"], as_index=False).sum()
    keys = (uniform(7, 0, found["owner_id"].str[1:].astype("int64").to_numpy()) * 2**62).astype(np.int64) * 2
    return found.assign(key=keys)


def scene_of(block: Block, view: View, cold: int = 0) -> tuple[Seen, Scene]:
    buyers = (block.history.until(view.t).add_up() > 0).sum(axis=0).astype(float)
    seen = Seen(view, buyers, 1.0)
    items = Items.of(item_sums(seen.read(block, HORIZON)), len(block.ids), view.hidden(N) | (buyers <= cold))
    learned = learn(view.seen(block.history, buyers, 1.0), view.t, HORIZON, RecommenderSettings(neighbours=10))
    parent = np.repeat(np.arange(4), 4)
    return seen, Scene(items, learned, Catalogue(parent, similarity(ITEMS)))


def test_candidates_hold_what_was_had_what_is_popular_and_all_cold_items(rows: pd.DataFrame) -> None:
    block, view = Block.of(rows, N), View(T, "learn", (0, 5), 0.25)
    seen, scene = scene_of(block, view)
    found = pairs_at(block, seen, scene, HORIZON, 2, allowed_at(block, seen))
    mask = np.zeros((len(block.ids), N), dtype=bool)
    mask[found.owner, found.item] = True
    hidden = view.hidden(N)
    assert hidden.any() and not mask[:, ~hidden].any(), "a view with hidden items is about these"
    seen, scene = scene_of(block, View(T, "learn"))
    found = pairs_at(block, seen, scene, HORIZON, 2, np.ones_like(mask))
    mask = np.zeros_like(mask)
    mask[found.owner, found.item] = True
    assert (mask | ~found.readings.ever).all()
    assert mask[:, np.argsort(-scene.items.share)[:2]].all() and not mask.all()


def test_hidden_items_show_about_k_buyers_and_none_for_k_0(rows: pd.DataFrame) -> None:
    block = Block.of(rows, N)
    ever = block.history.until(T).add_up() > 0
    for k in (0, 5):
        view = View(T, "learn", (k,), 0.99)
        left = view.seen(block.history, ever.sum(axis=0).astype(float), 1.0).add_up() > 0
        shown = left.sum(axis=0)[view.hidden(N)]
        assert abs(shown.mean() - k) <= 1.5 and (k or not shown.any())


def test_features_before_the_snapshot_do_not_see_what_comes_after(rows: pd.DataFrame) -> None:
    past = rows[rows["known"] <= T]
    found = []
    for frame in (rows, past):
        block = Block.of(frame, N)
        seen, scene = scene_of(block, View(T, "learn"))
        pairs = pairs_at(block, seen, scene, HORIZON, 4, allowed_at(block, seen))
        known = np.isin(block.ids[pairs.owner], past["owner_id"].unique())
        found.append(pairs.matrix()[known])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-9)


def test_negatives_are_a_uniform_sample_and_bought_pairs_all_stay(rows: pd.DataFrame) -> None:
    block = Block.of(rows, N)
    seen, scene = scene_of(block, View(T, "learn"))
    whole = training_pairs(rows, N, HORIZON, seen, scene, N, 1.0, 1.0)
    part = training_pairs(rows, N, HORIZON, seen, scene, N, 1.0, 0.3)
    assert len(whole) == len(block.ids) * N and part["target"].sum() == whole["target"].sum() > 0
    assert (part["target"] == 0).sum() / (whole["target"] == 0).sum() == pytest.approx(0.3, abs=0.04)
    mixed = training_pairs(rows.sample(frac=1, random_state=1), N, HORIZON, seen, scene, N, 1.0, 0.3)
    np.testing.assert_array_equal(np.stack(list(part["x"])), np.stack(list(mixed["x"])))


def test_neighbours_are_the_nearest_by_cosine() -> None:
    unit = np.random.default_rng(0).random((9, 4))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    expected = [unit[np.argsort(-(unit @ one))[:3]].mean(axis=0) for one in unit]
    np.testing.assert_allclose(nearest_mean(unit, unit, 3), expected)


def test_items_without_words_are_like_no_other() -> None:
    found = similarity(["red cheese", "red cheeses", "", "soap"])
    assert found[0, 1] > 0.5 > found[0, 3] and not found[2].any() and not np.diag(found).any()
    assert not similarity(["", ""]).any()


def test_measures_equal_scikit_learns() -> None:
    rng = np.random.default_rng(1)
    scores, bought = rng.random((20, 15)), rng.random((20, 15)) < 0.3
    bought[3] = False
    allowed = np.ones_like(bought)
    lists = best_items(scores, allowed, 10)
    ndcg, recall, hit, novelty = list_measures(lists, bought, allowed, np.full(15, 0.25))
    assert np.isnan(ndcg[3]) and np.isnan(recall[3]) and (novelty == 2).all()
    some = np.arange(20) != 3
    assert ndcg[some].mean() == pytest.approx(ndcg_score(bought[some], scores[some], k=10))
    top = np.argsort(-scores, axis=1)[:, :10]
    share = np.take_along_axis(bought, top, axis=1).sum(axis=1)[some] / bought[some].sum(axis=1)
    assert recall[some] == pytest.approx(share) and hit[some] == pytest.approx((share > 0).astype(float))


def test_a_list_is_short_where_few_items_are_allowed() -> None:
    allowed = np.array([[True, False, True], [False, False, False]])
    assert best_items(np.array([[1.0, 9, 2], [1, 1, 1]]), allowed, 4).tolist() == [[2, 0, -1, -1], [-1] * 4]


def test_reasons_name_what_speaks_for_the_item(rows: pd.DataFrame) -> None:
    block = Block.of(rows, N)
    seen, scene = scene_of(block, View(T, "learn"))
    found = pairs_at(block, seen, scene, HORIZON, N, np.ones((len(block.ids), N), dtype=bool))
    texts = reasons(found, scene, found.owner, found.item, tuple(ITEMS))
    days = found.readings.days[found.owner, found.item]
    assert texts[days > 1].str.match(r"bought on \d+ days, the last one \d+ days ago, about every \d+ days").all()
    assert texts[days == 1].str.startswith("bought once, ").all()
    assert texts[days == 0].str.contains("goes with|of all owners").all()


@pytest.mark.parametrize(("last", "learn", "test"), [(56, 0, 0), (84, 1, 1), (400, 6, 2)])
def test_snapshots_are_dealt_out_backwards(last: int, learn: int, test: int) -> None:
    config = GuideConfig(source="events", item="x")
    if not learn:
        with pytest.raises(InputError, match=r"found 1 snapshots .* expected at least 2"):
            Calendar.of(0, last, HORIZON, config)
        return
    found = Calendar.of(0, last, HORIZON, config)
    assert (len(found.learn), len(found.test), found.latest) == (learn, test, last)
    assert found.test[-1] + HORIZON == last and found.learn[-1] + HORIZON == found.test[0]


def test_a_smaller_sample_is_part_of_a_larger_one() -> None:
    keys = np.random.default_rng(0).integers(-(2**63), 2**63 - 1, 10_000)
    small, large = in_sample(keys, 0.1), in_sample(keys, 0.3)
    assert (large | ~small).all() and small.mean() == pytest.approx(0.1, abs=0.01)


def test_what_is_learned_travels_without_a_parser_that_two_threads_may_not_share(
    rows: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CPython's ast fails at times when two threads parse at once (issue 106905), and numpy reads headers with it."""

    def fail(*_: Any, **__: Any) -> None:
        raise SystemError("AST constructor recursion depth mismatch")

    _, scene = scene_of(Block.of(rows, N), View(T, "learn"))
    monkeypatch.setattr(ast, "literal_eval", fail)
    back = _unpacked(_packed(scene.recommenders))
    np.testing.assert_allclose(back.ease, scene.recommenders.ease, rtol=1e-6)
    np.testing.assert_allclose(back.sample, scene.recommenders.sample, rtol=1e-6)
    assert back.neighbours == scene.recommenders.neighbours
