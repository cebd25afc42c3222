"""Synchronous data-parallel training of one net; alone in a process, or in step with others.

Every worker holds a part of the rows, perhaps none. Each step takes a share of the global batch from every worker;
gradients and row weights are *summed* over the workers before the step, so that any split of the rows gives the
gradient of the same global batch, and all workers keep identical weights.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from remedi_spark.models.nets.adam import Adam
from remedi_spark.models.nets.inputs import InputStats
from remedi_spark.models.nets.models import FieldNet, build
from remedi_spark.models.nets.smoothing import FeatureSmoothing, Smoother
from remedi_spark.models.nets.workers import gather, rank, sum_over_workers
from remedi_spark.samples.layout import Layout

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Rows:
    """One worker's rows: encoded features (n, width), targets (n,), weights (n,), inner validation or not (n,).

    ``labels`` (n,), NaN where unknown, is set when ``target`` is a teacher's logit.
    """

    x: Array
    target: Array
    weight: Array
    valid: npt.NDArray[np.bool_]
    labels: Array | None = None


@dataclass(frozen=True)
class Recipe:
    """How to train: the loss (``logistic`` on 0/1 targets, ``mse`` on real ones) and the optimiser's settings.

    ``smoothing``: of the last hidden layer over the targets, in training only; None: none.
    """

    loss: str
    epochs: int
    max_steps: int
    batch_size: int | None
    learning_rate: float
    weight_decay: float
    patience: int
    n_bins: int
    seed: int
    label_weight: float = 0.0
    smoothing: FeatureSmoothing | None = None


@dataclass(frozen=True)
class Trained:
    """A trained net: specification, weights of its best epoch, validation curve."""

    spec: dict[str, Any]
    state: dict[str, Tensor]
    curve: list[float]


def train(
    spec: dict[str, Any],
    rows: Rows,
    layout: Layout,
    recipe: Recipe,
    on_epoch: Callable[[int, float], None] | None = None,
) -> Trained:
    """Train the net that ``spec`` describes; every worker of the process group must call this together."""
    torch.manual_seed(recipe.seed)
    spec = {**spec, "stats": shared_stats(rows, layout, recipe.n_bins).to_dict()}
    net = build(spec)
    learn, check = tensor_rows(rows, ~rows.valid), tensor_rows(rows, rows.valid)
    _start_at_prior(net, learn, recipe.loss)
    optimiser = Adam(net.parameters(), learning_rate=recipe.learning_rate, weight_decay=recipe.weight_decay)
    total = int(sum_over_workers(torch.tensor([len(learn.target)], dtype=torch.float64))[0])
    steps = max(1, math.ceil(total / (recipe.batch_size or _batch_size(total))))
    epochs = max(1, min(recipe.epochs, math.ceil(recipe.max_steps / steps)))
    order = np.random.default_rng([recipe.seed, rank()])
    smoother = Smoother(recipe.smoothing) if recipe.smoothing else None
    best, best_loss, waited, curve = copy.deepcopy(net.state_dict()), math.inf, 0, []
    for epoch in range(epochs):
        batches = np.array_split(order.permutation(len(learn.target)), steps)
        _epoch(net, optimiser, learn, batches, recipe, smoother)
        loss = _mean_loss(net, check, recipe)
        curve.append(loss)
        if on_epoch is not None:
            on_epoch(epoch + 1, loss)
        if loss < best_loss or math.isnan(loss):  # no validation rows: keep the last
            best, best_loss, waited = copy.deepcopy(net.state_dict()), loss, 0
        else:
            waited += 1
        if waited >= recipe.patience:
            break
    return Trained(spec, best, curve)


def _batch_size(rows: int) -> int:
    """Return the power of two nearest to a fortieth of the rows, from 64 to 4096."""
    return int(min(4096, max(64, 2 ** round(math.log2(max(rows, 1) / 40)))))


def margin(net: FieldNet, x: Array, *, pool: bool = True, batch: int = 8192) -> Array:
    """Return one margin a row, shape (n,): the log-odds of the members' mean probability, or with ``pool=False`` (a
    regression, a student of logits) the members' mean.
    """
    net.eval()
    parts = []
    with torch.inference_mode():
        for start in range(0, len(x), batch):
            logits = net(torch.from_numpy(np.ascontiguousarray(x[start : start + batch])))
            parts.append(pooled(logits.double(), pool))
    return torch.cat(parts).numpy() if parts else np.empty(0)


def pooled(logits: Tensor, pool: bool) -> Tensor:
    """Return one margin a row from its members' (n, members): the log-odds of their mean probability, or their mean."""
    return _pool(logits) if pool else logits.mean(1)


def _pool(logits: Tensor) -> Tensor:
    """Return log(mean p) − log(mean(1 − p)) over the members, without leaving the log scale."""
    count = math.log(logits.shape[1])
    up = torch.logsumexp(F.logsigmoid(logits), dim=1) - count
    down = torch.logsumexp(F.logsigmoid(-logits), dim=1) - count
    return up - down


def _epoch(
    net: FieldNet, optimiser: Adam, rows: TensorRows, batches: list[Any], recipe: Recipe,
    smoother: Smoother | None,
) -> None:  # fmt: skip
    net.train()
    for index in batches:
        optimiser.zero_grad()
        batch = rows.take(torch.as_tensor(index))
        if len(batch.target):
            logits = net(batch.x) if smoother is None else smoother.logits(net, batch.x, batch.target)
            _row_losses(logits, batch, recipe).mul(batch.weight).sum().backward()  # type: ignore[no-untyped-call]
        _share_gradients(net, float(batch.weight.sum()))
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
    if smoother is not None:
        smoother.end_epoch(net)


def _row_losses(logits: Tensor, batch: TensorRows, recipe: Recipe) -> Tensor:
    """Mean over the members of each member's own loss, shape (n,)."""
    target = batch.target.unsqueeze(1).expand_as(logits)
    if recipe.loss == "logistic":
        return F.binary_cross_entropy_with_logits(logits, target, reduction="none").mean(1)
    losses = (logits - target).square().mean(1)
    if recipe.label_weight and batch.labels is not None:
        known = ~torch.isnan(batch.labels)
        labels = torch.where(known, batch.labels, 0.0).unsqueeze(1).expand_as(logits)
        logistic = F.binary_cross_entropy_with_logits(logits, labels, reduction="none").mean(1)
        mixed = (1 - recipe.label_weight) * losses + recipe.label_weight * logistic
        losses = torch.where(known, mixed, losses)
    return losses


def _share_gradients(net: FieldNet, weight: float) -> None:
    """Sum gradients and weights over the workers, and leave the weighted mean in every ``grad``."""
    parameters = [p for p in net.parameters() if p.requires_grad]
    grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    flat = torch.cat([grad.reshape(-1) for grad in grads] + [torch.tensor([weight])])
    flat = sum_over_workers(flat)
    flat = flat[:-1] / flat[-1].clamp_min(1e-12)
    for parameter, part in zip(parameters, torch.split(flat, [p.numel() for p in parameters]), strict=True):
        parameter.grad = part.view_as(parameter).clone()


def _mean_loss(net: FieldNet, rows: TensorRows, recipe: Recipe) -> float:
    net.eval()
    sums = torch.zeros(2, dtype=torch.float64)
    with torch.inference_mode():
        for start in range(0, len(rows.target), 8192):
            batch = rows.take(torch.arange(start, min(start + 8192, len(rows.target))))
            losses = _validation_losses(net(batch.x), batch, recipe)
            sums += torch.stack([(losses * batch.weight).sum(), batch.weight.sum()]).double()
    total, weight = sum_over_workers(sums).tolist()
    return total / weight if weight else math.nan


def _validation_losses(logits: Tensor, batch: TensorRows, recipe: Recipe) -> Tensor:
    """The pooled prediction is what is used later, so it is what decides when to stop."""
    return _row_losses(pooled(logits, recipe.loss == "logistic").unsqueeze(1), batch, recipe)


def _start_at_prior(net: FieldNet, rows: TensorRows, loss: str) -> None:
    """Start the output bias at the mean target: at a prior of 0.5 % most of the first epoch would go there."""
    weight = rows.weight.double()
    sums = sum_over_workers(torch.stack([(rows.target.double() * weight).sum(), weight.sum()]))
    mean = float(sums[0] / sums[1].clamp_min(1e-12))
    if loss == "logistic":
        mean = min(max(mean, 1e-6), 1 - 1e-6)
        mean = math.log(mean) - math.log1p(-mean)
    nn.init.constant_(net.head.bias, mean)  # type: ignore[arg-type]


@dataclass(frozen=True)
class TensorRows:
    """Encoded rows (n, width), targets, weights and, for a student, labels (n,), as tensors."""

    x: Tensor
    target: Tensor
    weight: Tensor
    labels: Tensor | None

    def take(self, index: Tensor) -> TensorRows:
        """Return the rows at some positions."""
        labels = None if self.labels is None else self.labels[index]
        return TensorRows(self.x[index], self.target[index], self.weight[index], labels)


def tensor_rows(rows: Rows, mask: npt.NDArray[np.bool_]) -> TensorRows:
    """Return the rows of a mask (n,) as tensors."""
    labels = None if rows.labels is None else torch.from_numpy(rows.labels[mask]).float()
    return TensorRows(
        torch.from_numpy(rows.x[mask]),
        torch.from_numpy(rows.target[mask]).float(),
        torch.from_numpy(rows.weight[mask]).float(),
        labels,
    )


def shared_stats(rows: Rows, layout: Layout, n_bins: int) -> InputStats:
    """Measure the inputs on the worker with most training rows, and give all workers its figures."""
    learn = rows.x[~rows.valid]
    sizes = gather(len(learn))
    source = int(np.argmax(sizes))
    mine = InputStats.measure(learn, layout, n_bins).to_dict() if rank() == source else None
    return InputStats(**gather(mine)[source])
