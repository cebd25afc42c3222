"""Greedy selection of base models: weights of at least 0 that add up to 1, most of them 0.

Picks of equal weight are added to a blend one by one, and the best of these blends is kept (Caruana et al., "Ensemble
selection from libraries of models", ICML 2004). Departures: the next pick is the one along which the loss falls fastest
(Frank-Wolfe), so that one product with the residuals tries every model; the loss is the log-loss, which uses every
row, where AP follows a few positives. The mean over random two thirds of the models ("bagging" in the same source)
keeps one lucky model from taking everything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from remedi_spark.models.nets.workers import sum_over_workers

if TYPE_CHECKING:
    from remedi_spark.ensemble.fuser_training import FuserRows

PICKS = 30
BAGS = 8
_SHARE = 2 / 3


def select(rows: FuserRows, folds: int, *, loss: str = "logistic", seed: int = 0) -> list[list[float]]:
    """Return the weights of the models, once for each fold left out and last for all rows.

    Args:
        rows: this worker's rows; every worker must call this together.
        folds: number of folds.
        loss: ``logistic`` on 0/1 labels, ``mse`` on real ones.
        seed: of the models that each bag may pick.

    Returns:
        (folds + 1) lists of one weight a model, each adding up to 1.
    """
    x, y = torch.as_tensor(rows.logits).double(), torch.as_tensor(rows.label).double().unsqueeze(1)
    weight, fold = torch.as_tensor(rows.weight).double().unsqueeze(1), torch.as_tensor(rows.fold).unsqueeze(1)
    allowed = _allowed(x.shape[1], seed)
    left_out = [*range(folds), -1]
    return [_select(x, y, weight * (fold != out), allowed, loss).mean(1).tolist() for out in left_out]


def _allowed(models: int, seed: int) -> Tensor:
    """Return which models each bag may pick, (models, bags)."""
    rng = np.random.default_rng(seed)
    count = max(min(2, models), round(models * _SHARE))
    allowed = torch.zeros(models, BAGS, dtype=torch.bool)
    for bag in range(BAGS):
        allowed[torch.as_tensor(rng.permutation(models)[:count]), bag] = True
    return allowed


def _select(x: Tensor, y: Tensor, weight: Tensor, allowed: Tensor, loss: str) -> Tensor:
    """Return the best blend of each bag, (models, bags): logits x (n, models), labels and weights (n, 1)."""
    bags = torch.arange(allowed.shape[1])
    blend, picked = torch.zeros(len(x), len(bags), dtype=torch.float64), torch.zeros(allowed.shape, dtype=torch.float64)
    best, least = picked.clone(), torch.full((len(bags),), torch.inf, dtype=torch.float64)
    for pick in range(1, PICKS + 1):
        residual = weight * ((blend if loss == "mse" else torch.sigmoid(blend)) - y)
        falls = sum_over_workers(x.T @ residual).masked_fill(~allowed, torch.inf)
        chosen = falls.argmin(0)
        picked[chosen, bags] += 1
        blend += (x[:, chosen] - blend) / pick
        errors = (blend - y).square() if loss == "mse" else F.softplus(blend) - y * blend
        total = sum_over_workers((weight * errors).sum(0))
        better = total < least
        best[:, better], least[better] = picked[:, better] / pick, total[better]
    return best
