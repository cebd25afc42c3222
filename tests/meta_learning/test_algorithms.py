"""Meta-gradients against hand-written autograd, the papers' formulas and finite differences."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from remedi_spark.segments.maths.algorithms import MetaGradient, initial_log_rates, sum_finite, task_gradients
from remedi_spark.segments.maths.inner_loop import InnerLoop, Parameters, adapt, clip_norm, layer_names, net_loss
from remedi_spark.segments.maths.tasks import Rows, Task, stack_tasks

RATE = 0.1


class TinyNet(nn.Module):
    """2-3-1 with tanh: smooth, so that finite differences are exact enough."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, 3), nn.Tanh())
        self.head = nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))  # type: ignore[no-any-return]


@pytest.fixture
def net() -> TinyNet:
    torch.manual_seed(0)
    return TinyNet().double()


def tasks(count: int = 3, seed: int = 1) -> list[Task]:
    """Tasks of different sizes, so that stacking pads them."""
    generator = torch.Generator().manual_seed(seed)

    def rows(size: int) -> Rows:
        x = torch.randn(size, 2, generator=generator, dtype=torch.float64)
        y = (torch.rand(size, generator=generator) < 0.4).double()
        return Rows(x, y, torch.rand(size, generator=generator).double() + 0.5)

    return [Task(rows(4 + i), rows(6 - i)) for i in range(count)]


def start_of(net: nn.Module) -> Parameters:
    return {name: value.detach().clone() for name, value in net.named_parameters()}


def gradient(
    algorithm: Any, net: nn.Module, batch: Task, loop: InnerLoop, layers: str = "all", **options: Any
) -> MetaGradient:
    start = start_of(net)
    moving = {name: start[name] for name in layer_names(net, layers)}
    log_rates = {name: value.double() for name, value in initial_log_rates(moving, RATE).items()}
    return sum_finite(task_gradients(algorithm, net_loss(net, "logistic"), loop, **options)(start, log_rates, batch))


def plain_loss(net: nn.Module, parameters: Parameters, rows: Rows) -> Tensor:
    """The weighted log-loss, written out."""
    p = torch.sigmoid(functional_call(net, parameters, (rows.x,))[:, 0])
    losses = -(rows.y * p.log() + (1 - rows.y) * (1 - p).log())
    return (losses * rows.weight).sum() / rows.weight.sum()


def stepped(net: nn.Module, start: Parameters, rows: Rows, steps: int, *, through: bool) -> Parameters:
    """Inner steps by ``torch.autograd`` alone."""
    own = start
    for _ in range(steps):
        found = torch.autograd.grad(plain_loss(net, own, rows), list(own.values()), create_graph=through)
        own = {name: value - RATE * g for (name, value), g in zip(own.items(), found, strict=True)}
    return own


def flat(parameters: Any) -> Tensor:
    return torch.cat([value.reshape(-1) for value in parameters])


@pytest.mark.parametrize("steps", [1, 3])
def test_maml_is_the_gradient_through_the_inner_steps(net: TinyNet, steps: int) -> None:
    expected = torch.zeros(13, dtype=torch.float64)
    for task in tasks():
        start = {name: value.requires_grad_() for name, value in start_of(net).items()}
        loss = plain_loss(net, stepped(net, start, task.support, steps, through=True), task.query)
        expected += flat(torch.autograd.grad(loss, list(start.values())))
    found = gradient("maml", net, stack_tasks(tasks()), InnerLoop(steps))
    torch.testing.assert_close(found.flat, expected)
    first_order = gradient("fomaml", net, stack_tasks(tasks()), InnerLoop(steps))
    assert (first_order.flat - expected).abs().max() > 1e-3, "the second-order term is there"


def test_maml_agrees_with_finite_differences(net: TinyNet) -> None:
    task, loop, step = tasks(1)[0], InnerLoop(2), 1e-5
    start = start_of(net)
    rates = {name: torch.tensor([RATE]).double() for name in start}
    loss = net_loss(net, "logistic")

    def after(moved: Parameters) -> float:
        return float(loss(adapt(loss, moved, rates, task.support, loop, first_order=True), task.query))

    expected = []
    for name, value in start.items():
        for i in range(value.numel()):
            bump = torch.zeros_like(value).reshape(-1)
            bump[i] = step
            both = [after({**start, name: value + sign * bump.view_as(value)}) for sign in (1, -1)]
            expected.append((both[0] - both[1]) / (2 * step))
    found = gradient("maml", net, stack_tasks([task]), loop)
    torch.testing.assert_close(found.flat, torch.tensor(expected).double(), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("steps", [1, 3])
def test_fomaml_is_the_query_gradient_at_the_adapted_parameters(net: TinyNet, steps: int) -> None:
    expected = torch.zeros(13, dtype=torch.float64)
    for task in tasks():
        start = {name: value.requires_grad_() for name, value in start_of(net).items()}
        adapted = stepped(net, start, task.support, steps, through=False)
        adapted = {name: value.detach().requires_grad_() for name, value in adapted.items()}
        expected += flat(torch.autograd.grad(plain_loss(net, adapted, task.query), list(adapted.values())))
    torch.testing.assert_close(gradient("fomaml", net, stack_tasks(tasks()), InnerLoop(steps)).flat, expected)


def test_reptile_is_the_way_back_from_the_adapted_parameters(net: TinyNet) -> None:
    """Σ (θ − θ'_i), each θ'_i after k steps on all rows of the task."""
    start = start_of(net)
    expected = torch.zeros(13, dtype=torch.float64)
    for task in tasks():
        both = Rows(*(torch.cat(pair) for pair in zip(task.support, task.query, strict=True)))
        begin = {name: value.clone().requires_grad_() for name, value in start.items()}
        adapted = stepped(net, begin, both, 4, through=False)
        expected += flat([start[name] - adapted[name].detach() for name in start])
    torch.testing.assert_close(gradient("reptile", net, stack_tasks(tasks()), InnerLoop(4)).flat, expected)


def test_reptile_on_a_parabola() -> None:
    """By hand: L = w², w₀ = 1, α = 0.1: w' = (1 − 0.2)² = 0.64 after two steps, so θ − θ' = 0.36."""

    class Line(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.ones(1))

        def forward(self, x: Tensor) -> Tensor:
            return x * self.w

    one = Rows(torch.ones(1, 1), torch.zeros(1), torch.ones(1))
    log_rates = initial_log_rates({"w": torch.ones(1)}, 0.1)
    reptile = task_gradients("reptile", net_loss(Line(), "mse"), InnerLoop(2))
    found = sum_finite(reptile({"w": torch.ones(1)}, log_rates, stack_tasks([Task(one, one)])))
    assert float(found.flat) == pytest.approx(0.36)
    assert found.loss == pytest.approx(0.64**2)


def test_anil_adapts_the_head_alone_and_learns_all(net: TinyNet) -> None:
    task, loss = tasks(1)[0], net_loss(net, "logistic")
    names = layer_names(net, "head")
    assert names == ["head.weight", "head.bias"]
    rates = {name: torch.tensor([RATE]).double() for name in names}
    start = start_of(net)
    adapted = adapt(loss, start, rates, task.support, InnerLoop(3), first_order=True)
    assert all(torch.equal(adapted[name], start[name]) for name in start if name not in names)
    assert all(not torch.equal(adapted[name], start[name]) for name in names)
    found = gradient("anil", net, stack_tasks([task]), InnerLoop(3), layers="head").flat
    assert (found[:9].abs() > 1e-6).all(), "the body has a meta-gradient"


@pytest.mark.parametrize("algorithm", ["maml", "fomaml", "reptile"])
@pytest.mark.parametrize("chunk", [None, 2])
def test_side_by_side_equals_one_after_the_other(net: TinyNet, algorithm: str, chunk: int | None) -> None:
    loop = InnerLoop(2, clip=0.3, proximal=0.2)
    together = gradient(algorithm, net, stack_tasks(tasks()), loop, chunk=chunk)
    single = [gradient(algorithm, net, stack_tasks([task]), loop) for task in tasks()]
    torch.testing.assert_close(together.flat, torch.stack([one.flat for one in single]).sum(0))
    assert together.loss == pytest.approx(sum(one.loss for one in single))
    assert together.tasks == 3


def test_learned_rates_have_the_gradient_of_finite_differences(net: TinyNet) -> None:
    task, loop, loss, step = tasks(1)[0], InnerLoop(2), net_loss(net, "logistic"), 1e-6
    start, names = start_of(net), layer_names(net, "all")

    def after(index: int, change: float) -> float:
        log_rate = torch.tensor([RATE]).double().log()
        rates = {name: (log_rate + change * (i == index)).exp() for i, name in enumerate(names)}
        return float(loss(adapt(loss, start, rates, task.support, loop, first_order=True), task.query))

    expected = [(after(i, step) - after(i, -step)) / (2 * step) for i in range(len(names))]
    found = gradient("maml", net, stack_tasks([task]), loop, learn_rates=True).flat[-len(names) :]
    torch.testing.assert_close(found, torch.tensor(expected).double(), rtol=1e-5, atol=1e-9)


def test_a_diverged_task_is_counted_and_left_out(net: TinyNet) -> None:
    good = tasks(3)
    bad = Task(good[1].support._replace(x=good[1].support.x * torch.inf), good[1].query)
    with_bad = gradient("maml", net, stack_tasks([good[0], bad, good[2]]), InnerLoop(1))
    assert (with_bad.tasks, with_bad.diverged) == (2, 1)
    without = gradient("maml", net, stack_tasks([good[0], good[2]]), InnerLoop(1))
    torch.testing.assert_close(with_bad.flat, without.flat)
    nothing = gradient("maml", net, stack_tasks([bad]), InnerLoop(1))
    assert (nothing.tasks, nothing.diverged, float(nothing.flat.abs().sum())) == (0, 1, 0.0)


def test_clipping_bounds_the_norm_and_spares_small_gradients() -> None:
    big, small = {"a": torch.tensor([3.0, 4.0])}, {"a": torch.tensor([0.3, 0.4])}
    torch.testing.assert_close(clip_norm(big, 1.0)["a"], torch.tensor([0.6, 0.8]))
    torch.testing.assert_close(clip_norm(small, 1.0)["a"], small["a"])
    nothing = clip_norm({"a": torch.zeros(2)}, 1.0)["a"]
    assert nothing.tolist() == [0.0, 0.0]


def test_the_proximal_pull_settles_between_start_and_optimum() -> None:
    """L = (w − 1)², pull λ from w₀ = 0: the fixed point of 2 (w − 1) + λ w = 0 is 2 / (2 + λ)."""

    class Constant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.zeros(1))

        def forward(self, x: Tensor) -> Tensor:
            return self.w.expand(len(x), 1)

    rows = Rows(torch.zeros(1, 1), torch.ones(1), torch.ones(1))
    rates = {"w": torch.tensor(0.1)}
    start = {"w": torch.zeros(1)}
    settled = adapt(net_loss(Constant(), "mse"), start, rates, rows, InnerLoop(200, proximal=2.0), first_order=True)
    assert float(settled["w"]) == pytest.approx(0.5, abs=1e-4)
