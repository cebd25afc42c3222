from __future__ import annotations

import numpy as np
import pytest

from remedi_spark.errors import InputError
from remedi_spark.maths import bootstrap
from remedi_spark.maths.bootstrap import bootstrap_intervals, paired_bootstrap
from remedi_spark.maths.ranking import ranking_metrics
from remedi_spark.maths.tied_scores import RANKING_METRICS, TiedScores

EXACT = [name for name in RANKING_METRICS if name not in {"brier", "ece"}]


def planted(seed: int, n: int = 2000, prior: float = 0.05) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < prior).astype(float)
    return labels, 1 / (1 + np.exp(-np.round(rng.normal(labels - 2, 1), 2)))


def plain_bootstrap(labels, scores, k, resamples, seed):
    rng = np.random.default_rng(seed)
    drawn = [rng.integers(0, len(labels), len(labels)) for _ in range(resamples)]
    return [ranking_metrics(labels[rows], scores[rows], k) for rows in drawn]


@pytest.mark.parametrize("groups", [None, "one a row"])
def test_agrees_with_drawing_rows_one_by_one(groups):
    labels, scores = planted(0)
    codes = None if groups is None else np.arange(len(labels))
    found = bootstrap_intervals(labels, scores, 150, n_resamples=1500, groups=codes)
    plain = plain_bootstrap(labels, scores, 150, 1500, seed=1)
    for name in RANKING_METRICS:
        values = [drawn[name] for drawn in plain]
        low, high = np.quantile(values, [0.025, 0.975])
        # Two quantiles of 1,500 resamples each: four standard errors of a 2.5 % quantile are about 0.3 deviations.
        assert found[name] == pytest.approx((low, high), abs=0.3 * np.std(values)), name


@pytest.mark.parametrize("max_runs", [1, 7, 10_000])
def test_runs_without_positives_do_not_change_a_metric(monkeypatch, max_runs):
    monkeypatch.setattr(bootstrap, "MAX_RUNS", max_runs)
    labels, scores = planted(1)
    runs = bootstrap._Runs.of(labels, scores)
    times = np.random.default_rng(0).poisson(1, len(labels)).astype(float)
    drawn = runs.counter(np.arange(len(labels)))(times)
    every = TiedScores.of(labels, scores, times)
    assert (len(drawn.rows) < len(every.rows)) == (max_runs < 10_000)
    for name in EXACT:
        assert drawn.metric(name, 151) == pytest.approx(every.metric(name, 151)), name


def test_interval_covers_the_truth_as_often_as_it_says():
    # Scores N(1, 1) for positives, N(0, 1) for negatives: AUC = Φ(1 / √2).
    covered = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        labels = np.repeat([1.0, 0.0], [80, 400])
        low, high = bootstrap_intervals(labels, rng.normal(labels, 1), 40, metrics=["auc"], n_resamples=200)["auc"]
        covered += low <= 0.76025 <= high
    assert 180 <= covered <= 199  # 95 % of 200 is 190, the standard error 3; percentile intervals run a little short


def test_owners_are_drawn_whole():
    labels, scores = planted(2, n=400, prior=0.2)
    copies = 25
    repeated = (np.repeat(labels, copies), np.repeat(scores, copies))
    owners = np.repeat([f"owner {i}" for i in range(400)], copies)
    once = bootstrap_intervals(labels, scores, 40, metrics=["auc"], n_resamples=500)["auc"]
    whole = bootstrap_intervals(*repeated, 40 * copies, metrics=["auc"], n_resamples=500, groups=owners)["auc"]
    apart = bootstrap_intervals(*repeated, 40 * copies, metrics=["auc"], n_resamples=500)["auc"]
    assert np.ptp(whole) == pytest.approx(np.ptp(once), rel=0.2)
    assert np.ptp(apart) < np.ptp(once) / 3  # √25 = 5 times too narrow


def test_paired_difference_is_narrower_than_two_intervals_and_zero_for_one_model():
    labels, scores = planted(3)
    noisy = scores + np.random.default_rng(0).normal(0, 0.01, len(scores))
    found = paired_bootstrap(labels, scores, noisy, 150, "ap", n_resamples=300)
    assert found.low <= found.value <= found.high
    width = np.ptp(bootstrap_intervals(labels, scores, 150, metrics=["ap"], n_resamples=300)["ap"])
    assert found.high - found.low < width
    assert paired_bootstrap(labels, scores, scores, 150, "ap", n_resamples=10) == (0, 0, 0)


def test_paired_difference_has_the_sign_of_a_minus_b():
    labels, scores = planted(4)
    worthless = np.random.default_rng(0).random(len(scores))
    found = paired_bootstrap(labels, scores, worthless, 150, "auc", n_resamples=100, groups=np.arange(2000) // 4)
    assert found.low > 0


def test_same_seed_same_interval():
    labels, scores = planted(5)
    owners = np.arange(len(labels)) // 3
    first, second, other = (
        bootstrap_intervals(labels, scores, 50, n_resamples=20, seed=seed, groups=owners) for seed in (7, 7, 8)
    )
    assert first == second != other


def test_the_order_of_rows_changes_no_interval():
    labels, scores = planted(3)
    groups = np.random.default_rng(0).integers(-(2**62), 2**62, 700)[np.arange(len(labels)) % 700]
    order = np.random.default_rng(1).permutation(len(labels))
    found = bootstrap_intervals(labels, scores, 150, n_resamples=50, groups=groups)
    assert bootstrap_intervals(labels[order], scores[order], 150, n_resamples=50, groups=groups[order]) == found
    paired = paired_bootstrap(labels, scores, scores**2, 150, "ap", n_resamples=50, groups=groups)
    moved = paired_bootstrap(
        labels[order], scores[order], scores[order] ** 2, 150, "ap", n_resamples=50, groups=groups[order]
    )
    assert moved == paired


def test_one_class_only_gives_nan():
    assert np.isnan(bootstrap_intervals([0, 0], [1, 2], 1, metrics=["ap"], n_resamples=5)["ap"]).all()
    assert np.isnan(bootstrap_intervals([], [], 1, metrics=["ap"], n_resamples=5)["ap"]).all()


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"metrics": ["recal_at_k"]}, "did you mean 'recall_at_k'"),
        ({"n_resamples": 1}, "n_resamples: found 1"),
        ({"level": 95}, "level: found 95"),
        ({"groups": [1]}, "groups: found shape"),
        ({"k": 0}, "k: found 0"),
    ],
)
def test_bad_input_is_named(changed, word):
    arguments = {"labels": [0, 1], "scores": [1, 2], "k": 1} | changed
    with pytest.raises(InputError, match=word):
        bootstrap_intervals(**arguments)


def test_a_resample_costs_what_the_positives_cost():
    rng = np.random.default_rng(0)
    labels, scores = (rng.random(1_000_000) < 0.005).astype(float), rng.random(1_000_000)
    runs = bootstrap._Runs.of(labels, scores)
    assert len(runs.starts) < 2 * labels.sum() + bootstrap.MAX_RUNS
    assert runs.tied.rows.max() <= 1_000_000 / bootstrap.MAX_RUNS
