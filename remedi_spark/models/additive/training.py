"""Fit an additive net: its parameters enter linearly, so L-BFGS finds the best ones for a given ridge penalty.

From a strong penalty to a weak one, each starts where the last one ended; the inner validation rows choose. With the
cumulative basis of the curves the penalty is on their steps, and pulls each curve towards a constant. Columns count as
standardised: a rare level or a long tail may matter as much as a common one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import minimize
from torch import Tensor
from torch.nn import functional as F

from remedi_spark.models.nets.models import Additive, build
from remedi_spark.models.nets.training import Rows, TensorRows, Trained, shared_stats, tensor_rows
from remedi_spark.models.nets.workers import sum_over_workers
from remedi_spark.samples.layout import Layout

_CHUNK = 16_384
_CACHED_CELLS = 200_000_000
"""Cells of the design that are kept in memory (4 bytes each); beyond, it is computed anew in every pass."""
_TOLERANCE = 1e-8
"""Gain of a step, and largest slope, of the mean loss where the solver stops."""
_SMALLEST_VARIANCE = 1e-8
_PATIENCE = 2
"""Penalties in a row without a better validation loss after which weaker ones are not tried."""


@dataclass(frozen=True)
class Path:
    """What was tried: validation loss by penalty; nan without validation rows."""

    penalties: list[float]
    losses: list[float]

    @property
    def best(self) -> int:
        """Position of the smallest loss; the middle of the path where nothing can tell."""
        known = [(loss, i) for i, loss in enumerate(self.losses) if not math.isnan(loss)]
        return min(known)[1] if known else len(self.losses) // 2


def fit_path(
    net: Additive, learn: TensorRows, check: TensorRows, penalties: Sequence[float], *, loss: str, iterations: int
) -> Path:
    """Fit for every penalty, strongest first, and leave the weights of the best in ``net``.

    Args:
        net: the untrained model.
        learn: rows to fit.
        check: rows to choose by; may be none.
        penalties: λ of ½ λ Σ var(column) w² beside the *sum* of the losses, so in rows' worth: a ridge on standardised
            columns. The constant is free.
        loss: ``logistic`` or ``mse``.
        iterations: of L-BFGS, for each penalty.
    """
    design, checks = _Design(net, learn), _Design(net, check)
    variance = design.variances()
    total = float(sum_over_workers(learn.weight.double().sum().reshape(1))[0])
    weights = torch.zeros(design.columns, dtype=torch.float64)
    found, losses = [], []
    ordered = sorted(penalties, reverse=True)
    for penalty in ordered:
        weights = _minimise(design, weights, penalty / total * variance, total, loss, iterations)
        found.append(weights.clone())
        losses.append(checks.mean_loss(weights, loss))
        path = Path(ordered[: len(losses)], losses)
        if not math.isnan(losses[-1]) and len(losses) - 1 - path.best >= _PATIENCE:
            break
    net.set_weights(found[path.best].float())
    return path


def _minimise(design: _Design, start: Tensor, ridge: Tensor, total: float, loss: str, iterations: int) -> Tensor:
    def mean_and_gradient(x: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        weights = torch.from_numpy(x)
        value, gradient = design.loss_and_gradient(weights, loss)
        penalty = 0.5 * float((ridge * weights.square()).sum())
        return value / total + penalty, (gradient / total + ridge * weights).numpy()

    # Not torch's: its optimiser classes import ``torch._dynamo``, seconds in every process.
    found = minimize(
        mean_and_gradient, start.numpy(), jac=True, method="L-BFGS-B",
        options={"maxiter": iterations, "maxfun": 2 * iterations, "maxcor": 20, "ftol": _TOLERANCE, "gtol": _TOLERANCE},
    )  # fmt: skip
    return torch.from_numpy(found.x)


class _Design:
    """The design matrix in chunks, kept when it is small enough."""

    def __init__(self, net: Additive, rows: TensorRows) -> None:
        self._net, self._rows = net, rows
        with torch.no_grad():
            self.columns = net.design(rows.x[:1] if len(rows.x) else torch.zeros(1, rows.x.shape[1])).shape[1]
            small = len(rows.x) * self.columns <= _CACHED_CELLS
            self._kept = [net.design(part) for part in torch.split(rows.x, _CHUNK)] if small and len(rows.x) else None

    def _chunks(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        if not len(self._rows.x):
            return
        for i, (x, target, weight) in enumerate(
            zip(
                *(torch.split(part, _CHUNK) for part in (self._rows.x, self._rows.target, self._rows.weight)),
                strict=True,
            )
        ):
            yield (self._kept[i] if self._kept else self._net.design(x)), target, weight

    @torch.no_grad()
    def variances(self) -> Tensor:
        """Variance of every column over all workers' rows; 0 for the constant, which is free of any penalty."""
        sums = torch.zeros(2, self.columns, dtype=torch.float64)
        total = torch.zeros(1, dtype=torch.float64)
        for design, _, weight in self._chunks():
            sums += torch.stack([weight @ design, weight @ design.square()]).double()
            total += weight.double().sum()
        first, second = sum_over_workers(sums) / sum_over_workers(total).clamp_min(1e-12)
        variance = (second - first.square()).clamp_min(_SMALLEST_VARIANCE)
        variance[-1] = 0.0
        found: Tensor = variance.float()
        return found

    @torch.no_grad()
    def loss_and_gradient(self, weights: Tensor, loss: str) -> tuple[float, Tensor]:
        """Sum of the weighted losses of all workers' rows, and its gradient."""
        # Summed in double precision: where the solver stops must not depend on the order in which a machine adds.
        sums = torch.zeros(len(weights) + 1, dtype=torch.float64)
        for design, target, weight in self._chunks():
            margin = design @ weights.float()
            fitted = torch.sigmoid(margin) if loss == "logistic" else margin
            sums[:-1] += (design.T @ (weight * (fitted - target))).double()
            sums[-1] += (weight.double() * _losses(margin, target, loss).double()).sum()
        sums = sum_over_workers(sums)
        return float(sums[-1]), sums[:-1]

    @torch.no_grad()
    def mean_loss(self, weights: Tensor, loss: str) -> float:
        """Weighted mean loss over all workers' rows; nan without rows."""
        sums = torch.zeros(2, dtype=torch.float64)
        for design, target, weight in self._chunks():
            losses = _losses(design @ weights.float(), target, loss)
            sums += torch.stack([(weight * losses).sum(), weight.sum()]).double()
        total, weight = sum_over_workers(sums).tolist()
        return total / weight if weight else math.nan


def _losses(margin: Tensor, target: Tensor, loss: str) -> Tensor:
    if loss == "logistic":
        return F.binary_cross_entropy_with_logits(margin, target, reduction="none")
    return 0.5 * (margin - target).square()


def train_additive(
    rows: Rows, layout: Layout, *, loss: str, n_bins: int, penalties: Sequence[float], iterations: int
) -> Trained:
    """Measure the inputs, fit the path, keep the best; every worker of the process group must call this together.

    Returns:
        The net with, as its curve, the validation loss by penalty, strongest first.
    """
    spec = {"kind": "additive", "stats": shared_stats(rows, layout, n_bins).to_dict()}
    net = build(spec)
    assert isinstance(net, Additive)
    learn, check = tensor_rows(rows, ~rows.valid), tensor_rows(rows, rows.valid)
    path = fit_path(net, learn, check, penalties, loss=loss, iterations=iterations)
    return Trained(spec, net.state_dict(), path.losses)
