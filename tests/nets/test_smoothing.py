"""Feature smoothing inside training: it acts, it is off afterwards, and workers agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from remedi_spark.models.nets.fds import FDS
from remedi_spark.models.nets.models import build
from remedi_spark.models.nets.smoothing import FeatureSmoothing, Smoother
from remedi_spark.models.nets.training import Recipe, Rows, margin, train
from remedi_spark.samples.layout import Layout, Slot
from tests.in_step import in_step

LAYOUT = Layout((Slot(0, "number"), Slot(1, "number")))
SPECS: dict[str, dict[str, Any]] = {
    "mlp": {"kind": "mlp", "embedding_dim": 4, "hidden": [8], "dropout": 0.0},
    "tabm": {"kind": "tabm", "embedding_dim": 4, "members": 3, "blocks": 1, "width": 8, "dropout": 0.0},
    "deepfm": {"kind": "deepfm", "embedding_dim": 4, "hidden": [8], "dropout": 0.0},
}
SMOOTHING = FeatureSmoothing(tuple(np.linspace(-2, 4, 13)), "gaussian", 5, 2.0, 0.9)


def _recipe(**changes: Any) -> Recipe:
    plain: dict[str, Any] = {
        "loss": "mse", "epochs": 6, "max_steps": 1000, "batch_size": 50, "learning_rate": 0.01, "weight_decay": 1e-4,
        "patience": 6, "n_bins": 8, "seed": 3, "smoothing": SMOOTHING,
    }  # fmt: skip
    return Recipe(**(plain | changes))


def _rows(count: int, seed: int = 0) -> Rows:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 2))
    target = np.exp(0.7 * x[:, 0]) - 1 + 0.3 * x[:, 1] + 0.1 * rng.normal(size=count)
    return Rows(x, target, np.ones(count), np.arange(count) % 5 == 0)


@pytest.mark.slow
@pytest.mark.parametrize("kind", SPECS)
def test_smoothing_changes_training_and_still_learns(kind: str) -> None:
    rows, fresh = _rows(1000), _rows(500, seed=1)
    errors = {}
    for name, smoothing in (("with", SMOOTHING), ("without", None)):
        trained = train(SPECS[kind], rows, LAYOUT, _recipe(smoothing=smoothing, epochs=15))
        net = build(trained.spec)
        net.load_state_dict(trained.state)
        errors[name] = margin(net, fresh.x, pool=False) - fresh.target
    assert not np.array_equal(errors["with"], errors["without"])
    assert np.mean(errors["with"] ** 2) < 0.25 * np.var(fresh.target)


def test_the_first_epoch_is_as_without_smoothing() -> None:
    rows = _rows(400)
    one, other = (train(SPECS["mlp"], rows, LAYOUT, _recipe(epochs=1, smoothing=s)).state for s in (SMOOTHING, None))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_features_are_moved_by_the_statistics_of_the_epoch_before() -> None:
    """The reference: a fresh FDS that is given the same features and buckets by hand."""
    rows = _rows(300)
    trained = train(SPECS["mlp"], rows, LAYOUT, _recipe(epochs=1))
    net = build(trained.spec)
    x, target = torch.from_numpy(rows.x), torch.from_numpy(rows.target).float()
    smoother = Smoother(SMOOTHING)
    first = smoother.logits(net, x, target)
    torch.testing.assert_close(first, net(x))
    smoother.end_epoch(net)
    hidden = net.last_hidden(net.embed(x)).detach()
    bucket = np.clip(np.searchsorted(SMOOTHING.edges, rows.target, side="right") - 1, 0, 11)
    fds = FDS(8, bucket_num=12, kernel="gaussian", kernel_size=5, sigma=2.0, momentum=0.9)
    fds.update(hidden, torch.from_numpy(bucket))
    expected = net.read_out(fds.smooth(hidden, torch.from_numpy(bucket)), net.embed(x))
    torch.testing.assert_close(smoother.logits(net, x, target), expected)
    assert not torch.allclose(expected, first)


def test_a_kernel_wider_than_the_buckets_is_cut() -> None:
    narrow = FeatureSmoothing((0.0, 1.0, 2.0), "gaussian", 9, 2.0, 0.9)
    trained = train(SPECS["mlp"], _rows(200), LAYOUT, _recipe(epochs=2, smoothing=narrow))
    assert np.isfinite(trained.curve).all()


def _share(number: int) -> dict[str, Any]:
    rows = _rows(400)
    mine = np.arange(400) < 250 if number == 0 else np.arange(400) >= 250
    nothing = Rows(rows.x[:0], rows.target[:0], rows.weight[:0], rows.valid[:0])
    part = Rows(rows.x[mine], rows.target[mine], rows.weight[mine], rows.valid[mine])
    shared = train(SPECS["mlp"], part, LAYOUT, _recipe())
    lonely = train(SPECS["mlp"], rows if number == 0 else nothing, LAYOUT, _recipe())
    return {"shared": shared.state, "lonely": lonely.state}


@pytest.mark.slow
def test_workers_agree_and_one_without_rows_changes_nothing(tmp_path: Path) -> None:
    found = in_step(_share, tmp_path)
    alone = train(SPECS["mlp"], _rows(400), LAYOUT, _recipe()).state
    for name, value in alone.items():
        assert torch.equal(found[0]["shared"][name], found[1]["shared"][name])
        torch.testing.assert_close(found[0]["lonely"][name], value)
