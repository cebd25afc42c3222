"""The outer loop: from tasks to a start from which few steps go far.

Alone in a process, or in step with others: every worker hands in the tasks it holds of each meta-batch, meta-gradients
and task counts are summed over the workers, and all keep identical parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from remedi_spark.models.nets.workers import sum_over_workers
from remedi_spark.segments.maths.algorithms import (
    Algorithm,
    MetaGradient,
    initial_log_rates,
    sum_finite,
    task_gradients,
)
from remedi_spark.segments.maths.inner_loop import InnerLoop, Parameters, layer_names, net_loss
from remedi_spark.segments.maths.tasks import Task
from remedi_spark.segments.maths.tracing import traced

TaskSource = Callable[[int], Task | None]
"""This worker's stacked tasks of meta-batch number i; None when it holds none of them."""
OnCheck = Callable[[int, "MetaModel"], float]
"""Validation loss after i iterations, the same number on every worker; lower is better."""


@dataclass(frozen=True)
class MetaRecipe:
    """How to meta-train.

    Attributes:
        algorithm: ``maml``, ``fomaml``, ``anil`` or ``reptile``.
        loss: ``logistic``, ``per_positive`` or ``mse``.
        iterations: meta-batches.
        meta_rate: Adam's rate; for Reptile ε, which falls linearly to 0.
        decay: let Adam's rate fall linearly to 0 too (the MAML paper keeps it constant, for 3.5 times the iterations).
        inner_rate: α, or where it starts when rates are learned.
        inner: the inner loop.
        layers: what adapts: ``all``, ``body`` (all but the embeddings) or ``head``; ANIL is always ``head``.
        learn_rates: learn the inner rates (Meta-SGD): ``layer``, one a parameter tensor, or ``weight``, one each;
            ``no``: all stay ``inner_rate``.
        rate_factor: Adam's rate for the logarithms of the inner rates, as a multiple of ``meta_rate``.
        meta_clip: largest norm of the mean meta-gradient; None: not clipped.
        check_every: iterations between validations.
        patience: validations without a better loss before training stops.
        chunk: tasks to run at once; None: all that a worker holds.
    """

    algorithm: Algorithm
    loss: str
    iterations: int
    meta_rate: float
    inner_rate: float
    inner: InnerLoop
    layers: str = "all"
    learn_rates: str = "no"
    rate_factor: float = 30.0
    meta_clip: float | None = 10.0
    check_every: int = 100
    patience: int = 5
    chunk: int | None = None
    decay: bool = False

    def __post_init__(self) -> None:
        if self.algorithm == "reptile" and self.learn_rates != "no":
            raise ValueError(f"learn_rates {self.learn_rates!r}: Reptile has no meta-gradient to learn rates by")


@dataclass(frozen=True)
class MetaModel:
    """What meta-training ends with: the start θ and the inner rates' logarithms."""

    net: Parameters
    log_rates: Parameters

    @property
    def rates(self) -> Parameters:
        """Inner rate by the name of each parameter that adapts."""
        return {name: value.exp() for name, value in self.log_rates.items()}


@dataclass(frozen=True)
class MetaTrained:
    """A meta-trained model and how it came about.

    Attributes:
        model: of the best check (without checks: the last).
        losses: mean query loss of each iteration, nan where every task diverged.
        checks: (iterations, validation loss).
        diverged: tasks that were left out of a meta-gradient.
    """

    model: MetaModel
    losses: list[float] = field(default_factory=list)
    checks: list[tuple[int, float]] = field(default_factory=list)
    diverged: int = 0


def meta_train(net: nn.Module, recipe: MetaRecipe, source: TaskSource, on_check: OnCheck | None = None) -> MetaTrained:
    """Meta-train from the net's present parameters; every worker of the process group must call this together.

    Dropout is off: a task's few rows are seen whole in every step.
    """
    net.eval()
    loss, learn_rates = net_loss(net, recipe.loss), recipe.learn_rates != "no"
    gradients = traced(
        task_gradients(recipe.algorithm, loss, recipe.inner, learn_rates=learn_rates, chunk=recipe.chunk)
    )
    start = {name: value.detach().clone().requires_grad_() for name, value in net.named_parameters()}
    layers = "head" if recipe.algorithm == "anil" else recipe.layers
    moving = {name: start[name].detach() for name in layer_names(net, layers)}
    log_rates = {
        name: value.requires_grad_(learn_rates)
        for name, value in initial_log_rates(
            moving, recipe.inner_rate, by_weight=recipe.learn_rates == "weight"
        ).items()
    }
    learned = [*start.values(), *(log_rates.values() if learn_rates else ())]
    optimiser, full_rates = _optimiser(recipe, list(start.values()), list(log_rates.values()) if learn_rates else [])
    present = MetaModel(start, log_rates)
    best, best_loss, waited, trained = _copy(present), math.inf, 0, MetaTrained(present)
    diverged = 0
    for iteration in range(recipe.iterations):
        if recipe.algorithm == "reptile" or recipe.decay:
            for group, full in zip(optimiser.param_groups, full_rates, strict=True):
                group["lr"] = full * (1 - iteration / recipe.iterations)
        batch = source(iteration)
        own = None if batch is None else sum_finite(gradients(start, log_rates, batch))
        mean_loss, lost = _share(own, learned, recipe.meta_clip)
        trained.losses.append(mean_loss)
        diverged += lost
        if not math.isnan(mean_loss):
            optimiser.step()
        if on_check is None or ((iteration + 1) % recipe.check_every and iteration + 1 < recipe.iterations):
            continue
        checked = on_check(iteration + 1, _copy(present))
        trained.checks.append((iteration + 1, checked))
        waited = 0 if checked < best_loss else waited + 1
        if checked < best_loss:
            best, best_loss = _copy(present), checked
        if waited >= recipe.patience:
            break
    found = best if trained.checks and math.isfinite(best_loss) else _copy(present)
    return MetaTrained(found, trained.losses, trained.checks, diverged)


def _optimiser(
    recipe: MetaRecipe, start: list[Tensor], log_rates: list[Tensor]
) -> tuple[torch.optim.Optimizer, list[float]]:
    """Return the outer optimiser and the full learning rate of each of its groups."""
    if recipe.algorithm == "reptile":
        return torch.optim.SGD(start, lr=recipe.meta_rate), [recipe.meta_rate]
    groups: list[dict[str, Any]] = [{"params": start, "lr": recipe.meta_rate}]
    if log_rates:
        groups.append({"params": log_rates, "lr": recipe.meta_rate * recipe.rate_factor})
    return torch.optim.Adam(groups, fused=True), [group["lr"] for group in groups]


def _share(own: MetaGradient | None, learned: list[Tensor], clip: float | None) -> tuple[float, int]:
    """Leave the mean meta-gradient over all workers' tasks in every ``grad``; return mean loss and diverged tasks."""
    sizes = [value.numel() for value in learned]
    if own is None:
        flat = torch.zeros(sum(sizes) + 3, dtype=torch.float64)
    else:
        counts = torch.tensor([own.loss, own.tasks, own.diverged], dtype=torch.float64)
        # In doubles: two workers then agree with one to the last digits that matter.
        flat = torch.cat([own.flat.double(), counts])
    flat = sum_over_workers(flat)
    total, tasks, diverged = flat[-3:].tolist()
    if not tasks:
        return math.nan, int(diverged)
    mean = flat[:-3] / tasks
    if clip is not None:
        mean = mean * (clip / mean.norm().clamp_min(1e-12)).clamp_max(1.0)
    for value, part in zip(learned, torch.split(mean, sizes), strict=True):
        value.grad = part.view_as(value).to(value.dtype)
    return total / tasks, int(diverged)


def _copy(model: MetaModel) -> MetaModel:
    return MetaModel(
        {name: value.detach().clone() for name, value in model.net.items()},
        {name: value.detach().clone() for name, value in model.log_rates.items()},
    )
