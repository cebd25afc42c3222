"""The greedy selection picks what a trial of every model would, and never by a row's own label."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import log_loss

from remedi_spark.ensemble.fuser_training import FuserRows
from remedi_spark.ensemble.selection import BAGS, PICKS, _allowed, select


def _rows(count: int = 3000, noise: tuple[float, ...] = (0.5, 0.7, 1.5, 4.0), seed: int = 0) -> FuserRows:
    """Models that see the truth with noise of their own, less and less of it."""
    rng = np.random.default_rng(seed)
    truth = -2 + 1.5 * rng.normal(size=count)
    label = (rng.random(count) < 1 / (1 + np.exp(-truth))).astype(float)
    logits = truth[:, None] + rng.normal(size=(count, len(noise))) * np.array(noise)
    return FuserRows(logits, logits, label, rng.choice([0.5, 2.0], count), np.arange(count) % 5)


def _loss(rows: FuserRows, weights: Any, use: Any) -> float:
    p = 1 / (1 + np.exp(-rows.logits[use] @ np.asarray(weights)))
    return float(log_loss(rows.label[use], p, sample_weight=rows.weight[use]))


def _by_trial(rows: FuserRows, use: Any, models: list[int]) -> Any:
    """Greedy selection as published: every model is tried at every pick, and the best blend is kept."""
    picked = np.zeros(rows.logits.shape[1])
    best, least = picked, np.inf
    for pick in range(1, PICKS + 1):
        tried = {m: _loss(rows, (picked + np.eye(len(picked))[m]) / pick, use) for m in models}
        chosen = min(tried, key=tried.__getitem__)
        picked = picked + np.eye(len(picked))[chosen]
        if tried[chosen] < least:
            best, least = picked / pick, tried[chosen]
    return best


@pytest.mark.slow
def test_it_is_as_good_as_trying_every_model_at_every_pick() -> None:
    rows = _rows()
    allowed = _allowed(4, seed=0).numpy()
    for left_out, weights in enumerate(select(rows, 5)):
        use = rows.fold != left_out  # the last is of all rows
        published = np.mean([_by_trial(rows, use, np.flatnonzero(bag).tolist()) for bag in allowed.T], axis=0)
        assert sum(weights) == pytest.approx(1)
        assert min(weights) >= 0
        assert _loss(rows, weights, use) < _loss(rows, published, use) * 1.002


def test_it_beats_the_mean_and_leaves_out_what_sees_nothing() -> None:
    rows, fresh = _rows(), _rows(seed=1)
    weights = select(rows, 5)[-1]
    every = np.ones(len(fresh.label), dtype=bool)
    assert _loss(fresh, weights, every) < _loss(fresh, [0.25] * 4, every)
    assert weights[3] < 0.05


def test_no_row_counts_for_the_weights_of_its_own_fold() -> None:
    rows = _rows()
    changed = rows.label.copy()
    changed[rows.fold == 2] = 1 - changed[rows.fold == 2]
    other = FuserRows(rows.logits, rows.inputs, changed, rows.weight, rows.fold)
    assert select(rows, 5)[2] == select(other, 5)[2]
    assert select(rows, 5)[1] != select(other, 5)[1]


def test_weights_are_repeated_rows() -> None:
    rows = _rows(600)
    times = np.random.default_rng(0).integers(1, 4, 600)
    weighted = FuserRows(rows.logits, rows.inputs, rows.label, times.astype(float), rows.fold)
    repeated = FuserRows(*(np.repeat(one, times, axis=0) for one in (rows.logits, rows.inputs, rows.label)),
                         np.ones(times.sum()), np.repeat(rows.fold, times))  # fmt: skip
    np.testing.assert_allclose(select(weighted, 5), select(repeated, 5), atol=1e-9)


def test_amounts_are_selected_by_squared_error() -> None:
    rng = np.random.default_rng(0)
    truth = rng.gamma(1.0, size=2000) - 1
    logits = truth[:, None] + rng.normal(size=(2000, 3)) * np.array([0.3, 0.3, 3.0])
    found = select(FuserRows(logits, logits, truth, np.ones(2000), np.arange(2000) % 5), 5, loss="mse")[-1]
    assert found[2] < 0.05
    assert min(found[:2]) > 0.2


def test_two_models_and_equal_models_are_defined() -> None:
    rows = _rows(500, noise=(0.5, 0.5))
    assert len(select(rows, 5)) == 6
    same = np.repeat(rows.logits[:, :1], 3, axis=1)
    weights = select(FuserRows(same, same, rows.label, rows.weight, rows.fold), 5)[-1]
    assert sum(weights) == pytest.approx(1)
    assert _allowed(9, 0).shape == (9, BAGS)
