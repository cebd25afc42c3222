"""Adam (Kingma and Ba, 2015) with decoupled weight decay (Loshchilov and Hutter, 2019), without ``torch.compile``.

The steps are torch's own functional ones. Its optimiser classes would import ``torch._dynamo`` when the first one is
made: some seconds and 900 modules in every process that trains a net.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim.adamw import adamw


class Adam:
    """What ``torch.optim.AdamW`` computes by its default betas and epsilon; without ``weight_decay`` also ``Adam``.

    Args:
        parameters: what is trained.
        learning_rate: size of a step, > 0.
        weight_decay: share of ``learning_rate`` that every parameter loses a step, ≥ 0.
    """

    def __init__(self, parameters: Iterable[Tensor], *, learning_rate: float, weight_decay: float = 0.0) -> None:
        self._state = [(p, torch.zeros_like(p), torch.zeros_like(p), torch.tensor(0.0)) for p in parameters]
        self._learning_rate, self._weight_decay = learning_rate, weight_decay

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter, *_ in self._state:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Move those parameters that have a gradient."""
        moved = [
            (parameter, parameter.grad, mean, square, step)
            for parameter, mean, square, step in self._state
            if parameter.grad is not None
        ]
        if not moved:
            return
        parameters, grads, means, squares, steps = (list(part) for part in zip(*moved, strict=True))
        adamw(
            parameters, grads, means, squares, [], steps,
            amsgrad=False, beta1=0.9, beta2=0.999, lr=self._learning_rate, weight_decay=self._weight_decay,
            eps=1e-8, maximize=False,
        )  # fmt: skip
