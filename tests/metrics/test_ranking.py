from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp
from sklearn.metrics import average_precision_score, brier_score_loss, ndcg_score, roc_auc_score

from remedi_spark.errors import InputError
from remedi_spark.maths import ranking, tied_scores
from remedi_spark.maths.tied_scores import falling_order

TIED_SCORES, TIED_LABELS = [0.9, 0.8, 0.8, 0.8, 0.1], [1, 0, 1, 0, 1]


def rows_with_ties(seed: int, n: int = 500, prior: float = 0.1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < prior).astype(int)
    scores = np.round(rng.normal(labels, 1), 1)
    return labels, 1 / (1 + np.exp(-scores)), rng.integers(0, 4, n)


def test_ties_at_the_edge_count_pro_rata():
    found = ranking.ranking_metrics(TIED_LABELS, TIED_SCORES, 2)
    assert found["precision_at_k"] * 2 == pytest.approx(4 / 3)
    assert found["recall_at_k"] == pytest.approx(4 / 9)
    assert found["lift_at_k"] == ranking.lift_at_k(TIED_LABELS, TIED_SCORES, 2) == pytest.approx((2 / 3) / (3 / 5))


def test_fixture_of_average_precision_and_ndcg():
    labels, scores = [1, 0, 1, 0, 0], [5, 4, 3, 2, 1]
    assert ranking.average_precision(labels, scores) == pytest.approx(0.833333, abs=1e-6)
    assert ranking.ranking_metrics(labels, scores, 3)["ndcg_at_k"] == pytest.approx(0.919721, abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("k", [1, 7, 100, 500])
def test_equals_reference_implementations_with_ties(seed, k):
    labels, scores, weights = rows_with_ties(seed)
    found = ranking.ranking_metrics(labels, scores, k)
    assert found["ap"] == pytest.approx(average_precision_score(labels, scores))
    assert found["auc"] == pytest.approx(roc_auc_score(labels, scores))
    assert found["ndcg_at_k"] == pytest.approx(ndcg_score([labels], [scores], k=k))
    assert found["brier"] == pytest.approx(brier_score_loss(labels, scores))
    assert found["ks"] == pytest.approx(ks_2samp(scores[labels == 1], scores[labels == 0]).statistic)
    weighted = ranking.ranking_metrics(labels, scores, k, weights)
    assert weighted["ap"] == pytest.approx(average_precision_score(labels, scores, sample_weight=weights))
    assert weighted["auc"] == pytest.approx(roc_auc_score(labels, scores, sample_weight=weights))


@pytest.mark.parametrize("k", [1, 10, 333])
def test_whole_weights_are_repeated_rows(k):
    labels, scores, weights = rows_with_ties(11)
    repeated = ranking.ranking_metrics(np.repeat(labels, weights), np.repeat(scores, weights), k)
    assert ranking.ranking_metrics(labels, scores, k, weights) == pytest.approx(repeated)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 5)), min_size=1, max_size=30), st.integers(1, 40))
def test_top_k_is_the_mean_over_random_orders_of_ties(rows, k):
    labels, scores = np.array(rows).T
    order = np.argsort(-scores, kind="stable")
    # Each row of a tie is equally likely at each place of it: give every row its tie's mean label.
    mean_label = np.array([labels[scores == score].mean() for score in scores[order]])
    expected = mean_label[:k].sum() / min(k, len(labels))
    assert ranking.ranking_metrics(labels, scores, k)["precision_at_k"] == pytest.approx(expected)


def test_order_of_rows_does_not_matter():
    labels, scores, weights = rows_with_ties(3)
    shuffled = np.random.default_rng(0).permutation(len(labels))
    expected = ranking.ranking_metrics(labels, scores, 40, weights)
    assert ranking.ranking_metrics(labels[shuffled], scores[shuffled], 40, weights[shuffled]) == pytest.approx(expected)


def test_ks_sees_scores_that_rank_the_wrong_way_round():
    assert ranking.ranking_metrics([1, 1, 0, 0], [1, 2, 3, 4], 2)["ks"] == 1


def test_one_class_only():
    without = ranking.ranking_metrics([0, 0, 0], [0.1, 0.2, 0.3], 2)
    assert all(np.isnan(without[name]) for name in ("ap", "auc", "recall_at_k", "lift_at_k", "ndcg_at_k", "ks"))
    assert without["precision_at_k"] == 0
    only = ranking.ranking_metrics([1, 1], [0.1, 0.2], 1)
    assert np.isnan(only["auc"]) and np.isnan(only["ks"])
    assert (only["ap"], only["lift_at_k"], only["ndcg_at_k"]) == (1, 1, 1)


def test_no_rows_give_nan():
    assert all(np.isnan(value) for value in ranking.ranking_metrics([], [], 5).values())


def test_k_above_the_rows_is_clipped():
    found = ranking.ranking_metrics([1, 0], [2, 1], 10)
    assert (found["precision_at_k"], found["recall_at_k"]) == (0.5, 1)


def test_scores_outside_zero_and_one_have_no_calibration():
    found = ranking.ranking_metrics([1, 0], [3.0, -2.0], 1)
    assert np.isnan(found["brier"]) and np.isnan(found["ece"]) and found["auc"] == 1


@pytest.mark.parametrize(
    ("labels", "scores", "k", "weights", "word"),
    [
        ([1, 0], [1, 2], 0, None, "k: found 0"),
        ([1, 0], [1, 2], -3, None, "k: found -3"),
        ([1, 2], [1, 2], 1, None, "labels: found 2 in row 1"),
        ([1, 0], [1, np.nan], 1, None, "scores: found nan in row 1"),
        ([1, 0], [1], 1, None, "scores: found 1 values for 2 rows"),
        ([1, 0], [1, 2], 1, [1, -1], "weights: found -1 in row 1"),
        ([[1, 0]], [1, 2], 1, None, "labels: found an array of shape"),
    ],
)
def test_bad_input_is_named(labels, scores, k, weights, word):
    with pytest.raises(InputError, match=word):
        ranking.ranking_metrics(labels, scores, k, weights)


def test_gains_curve_is_recall_at_every_share():
    labels, scores, _ = rows_with_ties(5)
    share, recall = ranking.gains_curve(labels, scores, points=101)
    assert (share[0], share[-1], recall[0], recall[-1]) == (0, 1, 0, 1)
    for at in (1, 8, 50):
        found = ranking.ranking_metrics(labels, scores, share[at] * len(labels))
        assert recall[at] == pytest.approx(found["recall_at_k"])


def test_all_metrics_come_from_one_sort(monkeypatch):
    sorts = []
    monkeypatch.setattr(tied_scores, "falling_order", lambda scores: sorts.append(1) or falling_order(scores))
    ranking.ranking_metrics(*rows_with_ties(0)[:2], 10)
    assert len(sorts) == 1
