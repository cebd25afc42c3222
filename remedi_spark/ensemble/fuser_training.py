"""Train all fusers (folds x seeds) in one full-batch pass; a fold-masked loss keeps each from its own fold."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from remedi_spark.config.chain import EXPERTS
from remedi_spark.ensemble.fuser_net import Fuser, FuserSpec
from remedi_spark.ensemble.selection import select
from remedi_spark.models.nets.adam import Adam
from remedi_spark.models.nets.workers import sum_over_workers

Array = npt.NDArray[np.float64]
_CHUNK = 8_192
_CHECK_EVERY = 10
_PATIENCE = 4
"""Checks in which no head gets better before training stops."""
_CONVERGED = 1e-7
"""Largest Newton step that ends a stack."""


@dataclass(frozen=True)
class FuserRows:
    """One worker's rows: base logits (n, M), inputs (n, U), labels, weights and folds (n,)."""

    logits: Array
    inputs: Array
    label: Array
    weight: Array
    fold: npt.NDArray[np.int64]


@dataclass(frozen=True)
class FuserRecipe:
    """Settings of :class:`remedi_spark.config.chain.FuserConfig`, and the number of folds."""

    folds: int
    seeds: int
    hidden: int
    steps: int
    learning_rate: float
    l2: float
    seed: int
    experts: tuple[str, ...] = EXPERTS
    loss: str = "logistic"
    """``logistic`` on 0/1 labels, ``mse`` on real ones."""


@dataclass(frozen=True)
class TrainedFuser:
    """A trained fuser."""

    spec: FuserSpec
    state: dict[str, Tensor]
    curve: list[list[float]]
    """Validation loss of each head by check, (checks, heads)."""
    selection: list[list[float]]
    """Where it started: weights of the models by fold left out, and last of all rows."""


def train_fuser(rows: FuserRows, recipe: FuserRecipe) -> TrainedFuser:
    """Train; head h of fold k learns from folds other than k and k+1, and k+1 decides when to stop."""
    torch.manual_seed(recipe.seed)
    spec = _spec(rows, recipe)
    net = spec.build()
    selection = select(rows, recipe.folds, loss=recipe.loss, seed=recipe.seed)
    net.start_at(torch.tensor(selection)[torch.tensor(spec.fold_of_head)].float())
    start = {name: p.detach().clone() for name, p in net._by_head()}
    data = _Data.of(rows, spec, recipe.folds, recipe.loss)
    optimiser = Adam(net.parameters(), learning_rate=recipe.learning_rate)
    best = copy.deepcopy(net.state_dict())
    waited = 0
    best_loss = torch.full((len(spec.fold_of_head),), torch.inf, dtype=torch.float64)
    curve: list[list[float]] = []
    for step in range(recipe.steps + 1):
        if step % _CHECK_EVERY == 0:
            loss = data.loss(net, data.valid)
            curve.append(loss.tolist())
            better = ~(loss >= best_loss)  # without validation rows (nan): keep the last
            _keep_best(net, best, better)
            best_loss = torch.minimum(best_loss, loss)
            waited = 0 if bool(better.any()) else waited + 1
            if waited >= _PATIENCE:
                break
        optimiser.zero_grad()
        data.backward(net)
        (recipe.l2 * net.distance(start) / data.train_weight).sum().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return TrainedFuser(spec, best, curve, selection)


def _keep_best(net: Fuser, best: dict[str, Tensor], better: Tensor) -> None:
    """Copy the parameters of those heads that are better than before."""
    for name, parameter in net.named_parameters():
        best[name][better] = parameter.detach()[better]


@dataclass(frozen=True)
class _Data:
    logits: Tensor
    inputs: Tensor
    label: Tensor
    train: Tensor
    """Weight of each row in each head's training loss, (n, heads)."""
    valid: Tensor
    train_weight: Tensor
    """Total over all workers, (heads,)."""
    loss_name: str

    @classmethod
    def of(cls, rows: FuserRows, spec: FuserSpec, folds: int, loss: str) -> _Data:
        fold = torch.as_tensor(rows.fold).unsqueeze(1)
        own = torch.tensor(spec.fold_of_head).unsqueeze(0)
        checks = (own + 1) % folds if folds > 2 else own * 0 - 1
        weight = torch.as_tensor(rows.weight).float().unsqueeze(1)
        valid = weight * (fold == checks)
        train = weight * ((fold != own) & (fold != checks))
        total = sum_over_workers(train.double().sum(0)).float()
        return cls(
            torch.as_tensor(rows.logits).float(), spec.standardise(rows.inputs),
            torch.as_tensor(rows.label).float(), train, valid, total, loss,
        )  # fmt: skip

    def backward(self, net: Fuser) -> None:
        """Add the gradient of the mean training loss, summed over chunks and workers."""
        for part in torch.split(torch.arange(len(self.label)), _CHUNK):
            losses = self._losses(net, part)
            (losses * self.train[part] / self.train_weight).sum().backward()  # type: ignore[no-untyped-call]
        for parameter in net.parameters():
            grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            parameter.grad = sum_over_workers(grad)

    def loss(self, net: Fuser, weight: Tensor) -> Tensor:
        """Return the mean loss of each head on the rows of ``weight``, (heads,)."""
        total = torch.zeros(2, weight.shape[1], dtype=torch.float64)
        with torch.no_grad():
            for part in torch.split(torch.arange(len(self.label)), _CHUNK):
                total += torch.stack([(self._losses(net, part) * weight[part]).sum(0), weight[part].sum(0)])
        total = sum_over_workers(total)
        return total[0] / total[1]

    def _losses(self, net: Fuser, part: Tensor) -> Tensor:
        fused, _ = net(self.logits[part], self.inputs[part])
        label = self.label[part].unsqueeze(1).expand_as(fused)
        if self.loss_name == "mse":
            squared: Tensor = 0.5 * (fused - label).square()
            return squared
        return F.binary_cross_entropy_with_logits(fused, label, reduction="none")


def _spec(rows: FuserRows, recipe: FuserRecipe) -> FuserSpec:
    """Measure mean and deviation of the inputs over all workers."""
    x = torch.as_tensor(rows.inputs).double()
    known = (~x.isnan()).double()
    filled = torch.nan_to_num(x)
    sums = sum_over_workers(torch.stack([known.sum(0), filled.sum(0), filled.square().sum(0)]))
    count = sums[0].clamp_min(1.0)
    center = sums[1] / count
    scale = (sums[2] / count - center.square()).clamp_min(0).sqrt()
    scale = torch.where(scale > 1e-9, scale, torch.ones_like(scale))
    return FuserSpec(
        models=rows.logits.shape[1], inputs=rows.inputs.shape[1], hidden=recipe.hidden,
        fold_of_head=[fold for fold in range(recipe.folds) for _ in range(recipe.seeds)],
        center=center.tolist(), scale=scale.tolist(), experts=recipe.experts,
    )  # fmt: skip


def stack(
    rows: FuserRows, folds: int, *, loss: str = "logistic", ridge: float = 1.0, steps: int = 25
) -> list[list[float]]:
    """Fit regressions on the base margins by Newton's method, one a fold left out and one of all.

    Args:
        rows: this worker's rows; every worker must call this together.
        folds: number of folds.
        loss: ``logistic`` on 0/1 labels, ``mse`` (½ squared error) on real ones.
        ridge: penalty ½ ridge Σ (w − 1/M)² beside the sum of the losses, in rows' worth.
        steps: Newton steps at most.

    Returns:
        For each, the weights of the models and the intercept.
    """
    models = rows.logits.shape[1]
    x = torch.cat([torch.as_tensor(rows.logits), torch.ones(len(rows.label), 1)], dim=1).double()
    y = torch.as_tensor(rows.label).double()
    center = torch.tensor([1 / models] * models + [0.0], dtype=torch.float64)
    penalty = torch.diag(torch.tensor([ridge] * models + [1e-6], dtype=torch.float64))
    fits = []
    for left_out in [*range(folds), -1]:
        weight = torch.as_tensor(rows.weight).double() * (torch.as_tensor(rows.fold) != left_out)
        beta = center.clone()
        for _ in range(steps):
            p = x @ beta if loss == "mse" else torch.sigmoid(x @ beta)
            bend = weight if loss == "mse" else weight * p * (1 - p)  # second derivative of each row's loss
            gradient = sum_over_workers(x.T @ (weight * (p - y))) + penalty @ (beta - center)
            curvature = sum_over_workers((x * bend.unsqueeze(1)).T @ x) + penalty
            step = -torch.linalg.solve(curvature, gradient)
            beta = beta + step * min(1.0, 2.0 / float(step.abs().max().clamp_min(1e-12)))
            if float(step.abs().max()) < _CONVERGED:
                break
        fits.append(beta.tolist())
    return fits
