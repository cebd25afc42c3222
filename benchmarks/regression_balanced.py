"""Balanced MSE for the MLP of benchmarks/regression.py (Ren et al., 2022, arXiv 2203.16427): the batch-based form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from unittest import mock

import numpy as np
import torch
from regression_fits import mlp, stops
from regression_sets import Split

from remedi_spark.models.nets import training


def balanced_mlp(split: Split, margins: np.ndarray, weights: np.ndarray, seed: int, smoothing: None) -> np.ndarray:
    """Fit the MLP by Balanced MSE; see ``regression_fits.Learner``.

    The noise variance, which the paper learns or sets, is that of a plain fit's residuals on the rows that stop it.
    """
    stop = stops(split, seed)
    plain = mlp(replace(split, test_x=split.x[stop]), margins, weights, seed, smoothing)
    noise = float(np.mean((margins[stop] - plain) ** 2))
    with mock.patch.object(training, "_row_losses", _balanced(noise)):
        return mlp(split, margins, weights, seed, smoothing)


def _balanced(noise: float) -> Callable[..., torch.Tensor]:
    """Return the loss: the chance that a prediction belongs to its own label rather than to another of the batch."""

    def losses(logits: torch.Tensor, batch: training.TensorRows, recipe: training.Recipe) -> torch.Tensor:
        predicted, target = logits.mean(1), batch.target
        nearness = -((predicted.unsqueeze(1) - target.unsqueeze(0)) ** 2) / (2 * noise)
        return 2 * noise * (torch.logsumexp(nearness, dim=1) - nearness.diagonal())

    return losses
