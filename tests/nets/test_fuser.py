"""The fuser starts from closed forms, falls back to them, and finds what is planted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import spearmanr
from sklearn.metrics import log_loss

from remedi_spark.config.chain import EXPERTS
from remedi_spark.ensemble.fuser_training import FuserRecipe, FuserRows, stack, train_fuser

RECIPE: dict[str, Any] = {
    "folds": 5, "seeds": 1, "hidden": 8, "steps": 300, "learning_rate": 0.003, "l2": 1.0, "seed": 0
}  # fmt: skip


def _rows(count: int, *, switch: bool = False, prior: float = -2.0) -> FuserRows:
    """Draw rows: models 0 and 1 see the truth with noise, model 2 sees nothing; with ``switch``, model 0 is right where
    the last input is 1 and model 1 elsewhere."""
    rng = np.random.default_rng(0)
    truth = prior + 1.5 * rng.normal(size=count)
    label = (rng.random(count) < 1 / (1 + np.exp(-truth))).astype(float)
    side = rng.integers(0, 2, count).astype(float)
    noise = rng.normal(size=(3, count)) * np.array([[0.6], [0.9], [1.0]])
    logits = np.stack([truth + noise[0], truth + noise[1], prior + noise[2]], axis=1)
    if switch:
        logits[:, 0] = np.where(side == 1, truth, prior + noise[0])
        logits[:, 1] = np.where(side == 0, truth, prior + noise[1])
    inputs = np.column_stack([logits, logits - logits.mean(1, keepdims=True), side])
    return FuserRows(logits, inputs, label, rng.choice([0.5, 2.0], count), np.arange(count) % 5)


def _fused(rows: FuserRows, **changes: Any) -> tuple[Any, Any]:
    import torch

    trained = train_fuser(rows, FuserRecipe(**{**RECIPE, **changes}))
    net = trained.spec.build()
    net.load_state_dict(trained.state)
    with torch.no_grad():
        fused, gates = net(torch.from_numpy(rows.logits).float(), trained.spec.standardise(rows.inputs))
    own = np.asarray(trained.spec.fold_of_head)[None, :] == rows.fold[:, None]
    return (fused.double().numpy() * own).sum(1) / own.sum(1), gates.numpy()


def test_stacks_are_the_minimum_that_another_solver_finds() -> None:
    rows = _rows(1500)
    # Model 2 counts against itself: its best weight is below zero.
    logits = rows.logits.copy()
    logits[:, 2] -= 0.8 * rows.logits[:, 0]
    rows = FuserRows(-logits * [-1, -1, 1], rows.inputs, rows.label, rows.weight, rows.fold)
    ridge = 5.0
    found = stack(rows, 5, ridge=ridge)
    for left_out, mine in enumerate(found[:-1]):
        use = rows.fold != left_out

        def loss(w: Any, use: Any = use) -> Any:
            z = rows.logits[use] @ w[:3] + w[3]
            return (
                rows.weight[use] @ (np.logaddexp(0, z) - rows.label[use] * z)
                + 0.5 * ridge * ((w[:3] - 1 / 3) ** 2).sum()
            )

        best = minimize(loss, [1 / 3] * 3 + [0.0], method="L-BFGS-B", options={"ftol": 1e-14}).x
        np.testing.assert_allclose(mine, best, atol=2e-3)


def test_a_squared_loss_stack_is_the_ridge_solution() -> None:
    rows = _amounts(800)
    design = np.column_stack([rows.logits, np.ones(800)])
    for left_out, mine in enumerate(stack(rows, 5, loss="mse", ridge=5.0)[:-1]):
        use = rows.fold != left_out
        weighted = design[use] * rows.weight[use, None]
        penalty = np.diag([5.0, 5.0, 5.0, 1e-6])
        expected = np.linalg.solve(
            weighted.T @ design[use] + penalty, weighted.T @ rows.label[use] + penalty @ np.array([1 / 3] * 3 + [0.0])
        )
        np.testing.assert_allclose(mine, expected, atol=1e-8)


@pytest.mark.slow
def test_a_fuser_of_amounts_beats_their_mean_and_finds_a_switch() -> None:
    rows = _amounts(4000)
    fused, _ = _fused(rows, loss="mse")
    mean, oracle = rows.logits.mean(1), rows.logits[np.arange(4000), 1 - rows.inputs[:, -1].astype(int)]
    errors = {name: np.mean((found - rows.label) ** 2) for name, found in (("mean", mean), ("fused", fused))}
    best = np.mean((oracle - rows.label) ** 2)
    assert errors["fused"] - best < 0.5 * (errors["mean"] - best)


def _amounts(count: int) -> FuserRows:
    """Standardised amounts: model 0 is right where the last input is 1, model 1 elsewhere, model 2 never."""
    rng = np.random.default_rng(1)
    truth = rng.gamma(1.0, size=count) - 1
    side = rng.integers(0, 2, count).astype(float)
    noise = rng.normal(size=(3, count))
    right = truth + 0.2 * rng.normal(size=count)
    logits = np.stack([np.where(side == 1, right, noise[0]), np.where(side == 0, right, noise[1]), noise[2]], axis=1)
    inputs = np.column_stack([logits, logits - logits.mean(1, keepdims=True), side])
    return FuserRows(logits, inputs, truth, rng.choice([0.5, 2.0], count), np.arange(count) % 5)


def test_a_useless_model_costs_nothing() -> None:
    rows = _rows(4000)
    fused, _ = _fused(rows)
    mean = rows.logits.mean(1)
    assert log_loss(rows.label, _p(fused)) < log_loss(rows.label, _p(mean))


@pytest.mark.slow
def test_a_switch_between_models_is_found() -> None:
    rows = _rows(6000, switch=True)
    stacks = np.asarray(stack(rows, 5))
    stacked = (np.column_stack([rows.logits, np.ones(6000)]) * stacks[rows.fold]).sum(1)
    fused, _ = _fused(rows)
    assert log_loss(rows.label, _p(fused)) < log_loss(rows.label, _p(stacked)) - 0.01


def test_no_row_is_taught_by_its_own_label() -> None:
    rows = _rows(1000)
    changed = rows.label.copy()
    changed[rows.fold == 2] = 1 - changed[rows.fold == 2]
    before, _ = _fused(rows, steps=50)
    after, _ = _fused(FuserRows(rows.logits, rows.inputs, changed, rows.weight, rows.fold), steps=50)
    np.testing.assert_array_equal(before[rows.fold == 2], after[rows.fold == 2])
    assert not np.array_equal(before, after)


def test_equal_models_give_themselves() -> None:
    rows = _rows(800)
    same = np.repeat(rows.logits[:, :1], 3, axis=1)
    fused, gates = _fused(
        FuserRows(same, np.column_stack([same, np.zeros((800, 4))]), rows.label, rows.weight, rows.fold)
    )
    assert np.isfinite(fused).all()
    for fold in range(5):
        mine = rows.fold == fold
        assert spearmanr(fused[mine], same[mine, 0]).statistic > 0.99
    assert gates.shape[-1] == len(EXPERTS)


def _p(logits: Any) -> Any:
    return 1 / (1 + np.exp(-logits))
