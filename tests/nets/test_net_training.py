"""Training in step: several workers give the gradient, and the net, of one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from remedi_spark.models.nets import training
from remedi_spark.models.nets.inputs import InputStats
from remedi_spark.models.nets.models import FieldNet, build
from remedi_spark.samples.layout import Layout, Slot
from tests.in_step import in_step

LAYOUT = Layout((Slot(0, "number"), Slot(1, "number"), Slot(2, "code", 4), Slot(2, "target")))
# All that are trained by steps; the linear term of "with_linear_term" is fitted in closed form.
SPECS: dict[str, dict[str, Any]] = {
    "additive": {"kind": "additive"},
    "mlp": {"kind": "mlp", "embedding_dim": 4, "hidden": [8], "dropout": 0.0},
    "tabm": {"kind": "tabm", "embedding_dim": 4, "members": 3, "blocks": 1, "width": 8, "dropout": 0.0},
    "deepfm": {"kind": "deepfm", "embedding_dim": 4, "hidden": [8], "dropout": 0.0},
    "ft_transformer": {"kind": "ft_transformer", "embedding_dim": 4, "blocks": 1, "heads": 2, "dropout": 0.0},
}


def _recipe(**changes: Any) -> training.Recipe:
    plain: dict[str, Any] = {
        "loss": "logistic", "epochs": 5, "max_steps": 1000, "batch_size": 50, "learning_rate": 0.01,
        "weight_decay": 1e-4, "patience": 5, "n_bins": 8, "seed": 3,
    }  # fmt: skip
    return training.Recipe(**(plain | changes))


def _rows(count: int, seed: int = 0) -> training.Rows:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 4))
    x[rng.random(count) < 0.2, 1] = np.nan
    x[:, 2] = rng.integers(0, 3, count)
    truth = 2 * x[:, 0] + np.where(np.isnan(x[:, 1]), 2.0, 0.0) - 1
    target = (rng.random(count) < 1 / (1 + np.exp(-truth))).astype(float)
    return training.Rows(x, target, rng.choice([0.5, 2.0], count), np.arange(count) % 5 == 0)


def _part(rows: training.Rows, index: Any) -> training.Rows:
    return training.Rows(rows.x[index], rows.target[index], rows.weight[index], rows.valid[index])


def _net(kind: str) -> FieldNet:
    torch.manual_seed(0)
    rows = _rows(400)
    return build({**SPECS[kind], "stats": InputStats.measure(rows.x, LAYOUT, 8).to_dict()})


def _gradient(net: FieldNet, rows: training.Rows) -> torch.Tensor:
    """What one step of training leaves in ``grad``, over whatever workers there are."""
    batch = training.tensor_rows(rows, np.ones(len(rows.target), dtype=bool))
    if len(batch.target):
        training._row_losses(net(batch.x), batch, _recipe()).mul(batch.weight).sum().backward()
    training._share_gradients(net, float(batch.weight.sum()))
    return torch.cat([p.grad.reshape(-1) for p in net.parameters() if p.grad is not None])


def _share(number: int) -> dict[str, Any]:
    """One of two workers: gradients of uneven shares of a batch, then training with and without rows of its own."""
    rows = _rows(400)
    mine = np.arange(400) < 250 if number == 0 else np.arange(400) >= 250
    found: dict[str, Any] = {kind: _gradient(_net(kind), _part(rows, mine)) for kind in SPECS}
    nothing = _part(rows, slice(0, 0))
    spec = {**SPECS["tabm"], "dropout": 0.2}
    lonely = training.train(spec, rows if number == 0 else nothing, LAYOUT, _recipe())
    shared = training.train(SPECS["mlp"], _part(rows, mine), LAYOUT, _recipe(epochs=10))
    return found | {"lonely": lonely.state, "shared": shared.state, "curve": shared.curve}


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Run two workers; return what each of them found."""
    return in_step(_share, tmp_path_factory.mktemp("workers"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", SPECS)
def test_two_workers_have_the_gradient_of_the_whole_batch(together: list[dict[str, Any]], kind: str) -> None:
    alone = _gradient(_net(kind), _rows(400))
    assert alone.abs().max() > 1e-3
    for found in together:
        torch.testing.assert_close(found[kind], alone, rtol=1e-4, atol=1e-6)
    assert torch.equal(together[0][kind], together[1][kind])


def test_a_worker_without_rows_changes_nothing(together: list[dict[str, Any]]) -> None:
    alone = training.train({**SPECS["tabm"], "dropout": 0.2}, _rows(400), LAYOUT, _recipe())
    for found in together:
        assert all(torch.equal(found["lonely"][name], value) for name, value in alone.state.items())


def test_two_workers_end_alike_and_where_one_ends(together: list[dict[str, Any]]) -> None:
    first, second = (found["shared"] for found in together)
    assert all(torch.equal(first[name], value) for name, value in second.items())
    alone = training.train(SPECS["mlp"], _rows(400), LAYOUT, _recipe(epochs=10))
    begun, ended = alone.curve[0], min(alone.curve)
    assert min(together[0]["curve"]) == pytest.approx(ended, abs=0.25 * (begun - ended))


@pytest.mark.slow
@pytest.mark.parametrize("kind", SPECS)
def test_same_seed_same_net_other_seed_another(kind: str) -> None:
    rows = _rows(300)
    one, same, other = (
        training.train(SPECS[kind], rows, LAYOUT, _recipe(seed=seed, epochs=2)).state for seed in (3, 3, 4)
    )
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


@pytest.mark.slow
def test_training_stops_when_validation_no_longer_improves_and_keeps_the_best() -> None:
    rows = _rows(120)
    trained = training.train(SPECS["mlp"], rows, LAYOUT, _recipe(epochs=300, learning_rate=0.05, patience=4))
    assert len(trained.curve) == int(np.argmin(trained.curve)) + 1 + 4
    net = build(trained.spec)
    net.load_state_dict(trained.state)
    check = training.tensor_rows(rows, rows.valid)
    assert training._mean_loss(net, check, _recipe()) == pytest.approx(min(trained.curve), rel=1e-6)


def test_without_validation_rows_the_last_epoch_is_kept() -> None:
    rows = _rows(200)
    everything = training.Rows(rows.x, rows.target, rows.weight, np.zeros(200, dtype=bool))
    trained = training.train(SPECS["mlp"], everything, LAYOUT, _recipe(epochs=8))
    assert len(trained.curve) == 8
    assert np.isnan(trained.curve).all()
    net = build(trained.spec)
    net.load_state_dict(trained.state)
    assert np.corrcoef(training.margin(net, rows.x), rows.x[:, 0])[0, 1] > 0.5, "it has learned"


def test_steps_are_bounded() -> None:
    epochs: list[int] = []
    training.train(SPECS["mlp"], _rows(400), LAYOUT, _recipe(epochs=50, max_steps=14), lambda n, _: epochs.append(n))
    assert epochs == [1, 2], "320 training rows are 7 steps of 50 an epoch"


def test_the_untrained_net_predicts_the_weighted_mean() -> None:
    rows = _rows(400)
    net = _net("mlp")
    training._start_at_prior(net, training.tensor_rows(rows, ~rows.valid), "logistic")
    prior = np.average(rows.target[~rows.valid], weights=rows.weight[~rows.valid])
    assert net.head.bias.item() == pytest.approx(np.log(prior / (1 - prior)), rel=1e-5)


def test_a_students_label_loss_counts_where_the_label_is_known() -> None:
    logits = torch.tensor([[0.0], [2.0]])
    batch = training.TensorRows(torch.empty(2, 0), torch.tensor([1.0, 1.0]), torch.ones(2), torch.tensor([1.0, np.nan]))
    losses = training._row_losses(logits, batch, _recipe(loss="mse", label_weight=0.25))
    expected = [0.75 * 1.0 + 0.25 * np.log(2), 1.0]
    torch.testing.assert_close(losses, torch.tensor(expected, dtype=torch.float32))
