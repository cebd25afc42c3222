"""The outer loop: planted tasks are learned, divergence is survived, two workers equal one, traces equal plain runs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed, multiprocessing, nn

from remedi_spark.models.nets.inputs import InputStats
from remedi_spark.models.nets.models import build
from remedi_spark.samples.layout import Layout, Slot
from remedi_spark.segments.maths.inner_loop import InnerLoop, net_loss
from remedi_spark.segments.maths.scoring import query_margins
from remedi_spark.segments.maths.tasks import Rows, Task, stack_tasks
from remedi_spark.segments.maths.tracing import traced
from remedi_spark.segments.maths.training import MetaRecipe, MetaTrained, meta_train


class Affine(nn.Module):
    """y = x · w + b."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x)  # type: ignore[no-any-return]


def lines(count: int, seed: int) -> Task:
    """Tasks y = a x with a ~ U[2, 4]; the best common start is near a = 3, b = 0."""
    generator = torch.Generator().manual_seed(seed)
    slope = torch.rand(count, 1, generator=generator) * 2 + 2
    x = torch.randn(count, 12, generator=generator)
    y, weight = slope * x, torch.ones(count, 12)
    both = Rows(x.unsqueeze(-1), y, weight)
    return Task(Rows(*(part[:, :6] for part in both)), Rows(*(part[:, 6:] for part in both)))


def recipe(**changes: Any) -> MetaRecipe:
    plain: dict[str, Any] = {
        "algorithm": "maml", "loss": "mse", "iterations": 150, "meta_rate": 0.05, "inner_rate": 0.05,
        "inner": InnerLoop(1),
    }  # fmt: skip
    return MetaRecipe(**{**plain, **changes})


def trained(**changes: Any) -> MetaTrained:
    torch.manual_seed(0)
    return meta_train(Affine(), recipe(**changes), lambda i: lines(8, i))


@pytest.mark.parametrize(
    "changes",
    [
        {}, {"algorithm": "fomaml"}, {"algorithm": "anil"}, {"decay": True, "meta_rate": 0.1},
        {"algorithm": "reptile", "meta_rate": 0.5, "inner": InnerLoop(5)}, {"learn_rates": "layer"},
    ],
    ids=str,
)  # fmt: skip
def test_the_start_is_in_the_middle_of_the_tasks(changes: dict[str, Any]) -> None:
    found = trained(**changes)
    assert float(found.model.net["head.weight"]) == pytest.approx(3.0, abs=0.3)
    assert float(found.model.net["head.bias"]) == pytest.approx(0.0, abs=0.3)
    assert found.losses[-1] < 0.2 * found.losses[0]
    assert found.diverged == 0


def test_learned_rates_grow_where_a_step_pays() -> None:
    """One step of the right size solves a line; the rate starts at a tenth of it."""
    found = trained(learn_rates="weight", iterations=300)
    assert found.model.rates["head.weight"].shape == (1, 1)
    assert float(found.model.rates["head.weight"]) > 0.2


def test_diverging_tasks_are_counted_and_training_goes_on() -> None:
    def source(i: int) -> Task:
        task = lines(4, i)
        task.support.x[i % 4] = torch.nan
        return task

    found = meta_train(Affine(), recipe(), source)
    assert found.diverged == 150
    assert float(found.model.net["head.weight"]) == pytest.approx(3.0, abs=0.3)


def test_without_a_finite_task_nothing_moves() -> None:
    net = Affine()
    before = net.head.weight.detach().clone()
    found = meta_train(net, recipe(iterations=5, inner_rate=float("inf")), lambda i: lines(3, i))
    assert found.diverged == 15
    assert torch.equal(found.model.net["head.weight"], before)
    assert all(math.isnan(loss) for loss in found.losses)


def test_the_best_check_is_kept_and_patience_stops() -> None:
    seen = []

    def check(iteration: int, model: Any) -> float:
        seen.append((iteration, model))
        return float(abs(iteration - 20))

    found = meta_train(Affine(), recipe(check_every=10, patience=3), lambda i: lines(4, i), check)
    assert [iteration for iteration, _ in seen] == [10, 20, 30, 40, 50]
    assert torch.equal(found.model.net["head.weight"], seen[1][1].net["head.weight"])


def _worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)

    def source(i: int) -> Task | None:
        """Worker 0 holds 3 of 4 tasks, and in every third batch all of them."""
        whole = lines(4, i)
        part = slice(0, 4 if i % 3 == 0 else 3) if rank == 0 else slice(4 if i % 3 == 0 else 3, 4)
        if part.start == 4:
            return None
        return Task(*(Rows(*(values[part] for values in rows)) for rows in whole))

    torch.manual_seed(0)
    found = meta_train(Affine(), recipe(iterations=30, learn_rates="layer"), source)
    torch.save(
        {**found.model.net, **found.model.log_rates, "losses": torch.tensor(found.losses)}, f"{folder}/{rank}.pt"
    )
    distributed.destroy_process_group()


@pytest.mark.slow
def test_two_workers_equal_one(tmp_path: Path) -> None:
    multiprocessing.spawn(_worker, args=(str(tmp_path),), nprocs=2)  # type: ignore[no-untyped-call]
    torch.manual_seed(0)
    alone = meta_train(Affine(), recipe(iterations=30, learn_rates="layer"), lambda i: lines(4, i))
    expected = {**alone.model.net, **alone.model.log_rates, "losses": torch.tensor(alone.losses)}
    both = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    for name, value in expected.items():
        torch.testing.assert_close(both[0][name], value, rtol=1e-4, atol=1e-5)
        assert torch.equal(both[0][name], both[1][name])


LAYOUT = Layout((Slot(0, "number"), Slot(1, "number"), Slot(2, "code", 4)))
NETS = {
    "mlp": {"hidden": [8]},
    "deepfm": {"hidden": [8]},
    "ft_transformer": {"blocks": 1, "heads": 2},
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", NETS)
def test_every_net_of_ours_adapts_side_by_side(kind: str) -> None:
    """Nulls and levels included; one meta-training step of each algorithm that differs, then scores of two tasks."""
    torch.manual_seed(0)
    x = torch.randn(60, 3, dtype=torch.float64)
    x[:, 2] = torch.arange(60) % 4
    x[::7, 1] = torch.nan
    stats = InputStats.measure(x.numpy(), LAYOUT, 4)
    net = build({"kind": kind, "stats": stats.to_dict(), "embedding_dim": 4, "dropout": 0.0, **NETS[kind]})
    y = (x[:, 0] > 0.3).float()
    tasks = [
        Task(Rows(x[:20], y[:20], torch.ones(20)), Rows(x[30:], y[30:], torch.ones(30))),
        Task(Rows(x[20:30], y[20:30], torch.ones(10)), Rows(x[:25], y[:25], torch.ones(25))),
    ]
    batch = stack_tasks(tasks)
    settings: dict[str, Any] = {"loss": "per_positive", "iterations": 12, "inner_rate": 0.1, "inner": InnerLoop(2)}
    for algorithm, rate in (("maml", 0.02), ("reptile", 0.5)):
        found = meta_train(net, recipe(algorithm=algorithm, meta_rate=rate, **settings), lambda _: batch)
        assert found.diverged == 0
        assert found.losses[-1] < found.losses[0], algorithm
    model = found.model
    side = query_margins(net, model.net, model.rates, batch, InnerLoop(2), (0, 2), loss="per_positive")
    for i, task in enumerate(tasks):
        alone = query_margins(
            net, model.net, model.rates, stack_tasks([task]), InnerLoop(2), (0, 2), loss="per_positive"
        )
        torch.testing.assert_close(side[i, :, : len(task.query.y)], alone[0], rtol=1e-4, atol=1e-4)


def test_the_loss_per_positive_is_the_mean_over_the_rate() -> None:
    task = lines(1, 0)
    rows = Rows(task.query.x[0], torch.tensor([1.0, 0, 0, 0, 1, 0]), torch.tensor([1.0, 2, 2, 2, 1, 2]))
    net = Affine()
    parameters = dict(net.named_parameters())
    mean, each = (net_loss(net, kind)(parameters, rows) for kind in ("logistic", "per_positive"))
    torch.testing.assert_close(each, mean * 10 / 2)


def test_a_trace_equals_the_plain_function_at_every_shape() -> None:
    def function(a: Tensor, b: dict[str, Tensor]) -> Tensor:
        return torch.func.vmap(lambda row: (row * b["w"]).sum() ** 2)(a)

    recorded = traced(function)
    for rows in (3, 5, 3, 7, 9, 11, 3):
        a, b = torch.randn(rows, 2), {"w": torch.randn(2)}
        torch.testing.assert_close(recorded(a, b), function(a, b))
