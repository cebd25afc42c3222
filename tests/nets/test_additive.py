"""The additive model: its optimum is scikit-learn's, its net says what its columns say, any workers give one model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from remedi_spark.models.additive.training import fit_path, train_additive
from remedi_spark.models.nets.inputs import InputStats
from remedi_spark.models.nets.models import Additive, build
from remedi_spark.models.nets.training import Rows, Trained, margin, tensor_rows
from remedi_spark.samples.layout import Layout, Slot
from tests.in_step import in_step

LAYOUT = Layout((Slot(0, "number"), Slot(1, "number"), Slot(2, "code", 4)))
PATH: dict[str, Any] = {"n_bins": 4, "penalties": (100.0, 1.0), "iterations": 200}


def _rows(count: int, seed: int = 0) -> Rows:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 3))
    x[rng.random(count) < 0.2, 1] = np.nan
    x[:, 2] = rng.integers(0, 3, count)
    truth = np.abs(x[:, 0]) + np.where(np.isnan(x[:, 1]), 1.0, 0.0) + 0.8 * (x[:, 2] == 1) - 1.5
    target = (rng.random(count) < 1 / (1 + np.exp(-truth))).astype(float)
    return Rows(x, target, rng.choice([0.5, 2.0], count), np.arange(count) % 4 == 0)


def _untrained(rows: Rows) -> Additive:
    net = build({"kind": "additive", "stats": InputStats.measure(rows.x, LAYOUT, 4).to_dict()})
    assert isinstance(net, Additive)
    return net


def test_the_net_is_its_design_times_its_weights() -> None:
    rows = _rows(200)
    net = _untrained(rows)
    design = net.design(torch.from_numpy(rows.x))
    weights = torch.randn(design.shape[1], generator=torch.Generator().manual_seed(0))
    net.set_weights(weights)
    np.testing.assert_allclose(margin(net, rows.x), (design @ weights).numpy(), atol=1e-5)


@pytest.mark.parametrize("penalty", [1.0, 100.0])
def test_weights_are_the_minimum_that_another_solver_finds(penalty: float) -> None:
    rows = _rows(600)
    net = _untrained(rows)
    every, none = np.ones(600, dtype=bool), np.zeros(600, dtype=bool)
    fit_path(net, tensor_rows(rows, every), tensor_rows(rows, none), [penalty], loss="logistic", iterations=300)
    design = net.design(torch.from_numpy(rows.x)).double().numpy()
    mean = np.average(design, axis=0, weights=rows.weight)
    ridge = penalty * (np.average(design**2, axis=0, weights=rows.weight) - mean**2)

    def loss(w: Any) -> Any:
        z = design @ w
        gradient = design.T @ (rows.weight * (1 / (1 + np.exp(-z)) - rows.target)) + ridge * w
        return rows.weight @ (np.logaddexp(0, z) - rows.target * z) + 0.5 * ridge @ w**2, gradient

    best = minimize(loss, np.zeros(design.shape[1]), jac=True, method="BFGS", options={"maxiter": 5000}).x
    np.testing.assert_allclose(margin(net, rows.x), design @ best, atol=5e-3)


def test_inner_validation_chooses_the_penalty() -> None:
    noise = _rows(150)
    noise = Rows(noise.x, np.random.default_rng(1).integers(0, 2, 150).astype(float), noise.weight, noise.valid)
    strongest_first = train_additive(noise, LAYOUT, loss="logistic", **PATH).curve
    assert strongest_first[0] < strongest_first[1], "nothing to learn: the strong penalty has to win"
    signal = train_additive(_rows(3000), LAYOUT, loss="logistic", **PATH).curve
    assert signal[1] < signal[0]


def test_weaker_penalties_are_not_tried_once_two_were_worse() -> None:
    noise = _rows(150)
    noise = Rows(noise.x, np.random.default_rng(1).integers(0, 2, 150).astype(float), noise.weight, noise.valid)
    path = {**PATH, "penalties": (1000.0, 100.0, 30.0, 10.0, 3.0, 1.0)}
    kept = train_additive(noise, LAYOUT, loss="logistic", **path)
    best = int(np.argmin(kept.curve))
    assert len(kept.curve) == best + 3 < len(path["penalties"])
    until = {**path, "penalties": path["penalties"][: best + 1]}
    for name, weights in train_additive(noise, LAYOUT, loss="logistic", **until).state.items():
        torch.testing.assert_close(kept.state[name], weights, rtol=0, atol=0)


def test_a_real_target_is_fitted_by_least_squares() -> None:
    rows = _rows(2000)
    curve = np.abs(rows.x[:, 0])
    trained = train_additive(Rows(rows.x, curve, rows.weight, rows.valid), LAYOUT, loss="mse", **PATH)
    net = build(trained.spec)
    net.load_state_dict(trained.state)
    assert np.corrcoef(margin(net, rows.x, pool=False), curve)[0, 1] > 0.95


def _share(number: int) -> Trained:
    rows = _rows(800)
    mine = np.arange(800) < 550 if number == 0 else np.arange(800) >= 550
    part = Rows(rows.x[mine], rows.target[mine], rows.weight[mine], rows.valid[mine])
    return train_additive(part, LAYOUT, loss="logistic", **PATH)


@pytest.mark.slow
def test_two_workers_give_the_model_of_one(tmp_path: Path) -> None:
    first, second = in_step(_share, tmp_path)
    agree = (torch.equal(value, second.state[name]) for name, value in first.state.items())
    assert all(agree), "the workers have to agree bit for bit"
    together = build(first.spec)
    together.load_state_dict(first.state)
    rows = _rows(800)
    alone = build(first.spec)  # the same bin edges
    assert isinstance(alone, Additive)
    path = fit_path(
        alone, tensor_rows(rows, ~rows.valid), tensor_rows(rows, rows.valid), PATH["penalties"], loss="logistic",
        iterations=PATH["iterations"],
    )  # fmt: skip
    np.testing.assert_allclose(first.curve, path.losses, atol=1e-5)
    np.testing.assert_allclose(margin(together, rows.x), margin(alone, rows.x), atol=1e-2)


def test_bins_of_a_mostly_zero_feature_go_where_it_varies() -> None:
    values = np.concatenate([np.zeros(900), np.linspace(1, 2, 100)])[:, None]
    stats = InputStats.measure(values, Layout((Slot(0, "number"),)), 8)
    assert len(stats.edges[0]) > 5, "plain quantiles would give two bins"
