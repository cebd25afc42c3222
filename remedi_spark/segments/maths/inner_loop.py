"""The inner loop: a few gradient steps from shared parameters to a task's own.

θ ← θ − α_l (∇ L_S(θ) + λ (θ − θ₀)), with a rate α_l for each parameter tensor ("layer"). One common α is MAML's (arXiv
1703.03400); learned ones are Meta-SGD's (arXiv 1707.09835): one a tensor, or one for every single weight as there.
λ pulls towards the start as iMAML's proximal term does (arXiv 1909.04630); 0 leaves it out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad
from torch.nn import functional as F

from remedi_spark.segments.maths.tasks import Rows

Parameters = dict[str, Tensor]
"""Parameters of a net by their names."""
TaskLoss = Callable[[Parameters, Rows], Tensor]
"""Weighted mean loss of one task's rows, a scalar."""


@dataclass(frozen=True)
class InnerLoop:
    """How a task adapts.

    Attributes:
        steps: gradient steps, 0 or more.
        clip: largest norm of a step's gradient over all adapted parameters; None: not clipped.
        proximal: λ, 0 or more.
    """

    steps: int
    clip: float | None = None
    proximal: float = 0.0


def net_loss(net: nn.Module, kind: str) -> TaskLoss:
    """Return the loss of a net that maps (rows, …) to (rows, members).

    ``logistic``: mean log-loss of 0/1 targets. ``per_positive``: their total log-loss over the weight of the positives;
    a step is then as long in a segment with 0.5 % buyers as in one with 10 %. ``mse``: mean squared error.
    """

    def loss(parameters: Parameters, rows: Rows) -> Tensor:
        output = functional_call(net, parameters, (rows.x,))  # (rows, members)
        target = rows.y.unsqueeze(1).expand_as(output)
        if kind != "mse":
            losses = F.binary_cross_entropy_with_logits(output, target, reduction="none")
        else:
            losses = (output - target).square()
        total = rows.weight * rows.y if kind == "per_positive" else rows.weight
        return (losses.mean(1) * rows.weight).sum() / total.sum().clamp_min(1e-12)

    return loss


def adapt(
    loss: TaskLoss, start: Parameters, rates: Mapping[str, Tensor], support: Rows, loop: InnerLoop, first_order: bool
) -> Parameters:
    """Return all parameters after the last step; those without a rate stay as they are."""
    return list(trajectory(loss, start, rates, support, loop, first_order=first_order))[-1]


def trajectory(
    loss: TaskLoss,
    start: Parameters,
    rates: Mapping[str, Tensor],
    support: Rows,
    loop: InnerLoop,
    *,
    first_order: bool = True,
) -> Iterator[Parameters]:
    """Yield all parameters after 0, 1, …, ``loop.steps`` steps.

    Args:
        loss: of one task.
        start: θ₀, all parameters of the net.
        rates: α by the name of each parameter that adapts.
        support: the rows of one task.
        loop: how to step.
        first_order: take each gradient as a constant when something is differentiated through the steps.
    """
    own = {name: start[name] for name in rates}
    yield start
    for _ in range(loop.steps):
        gradient = grad(lambda moved: loss({**start, **moved}, support))(own)
        if first_order:
            gradient = {name: value.detach() for name, value in gradient.items()}
        if loop.clip is not None:
            gradient = clip_norm(gradient, loop.clip)
        if loop.proximal:
            gradient = {name: value + loop.proximal * (own[name] - start[name]) for name, value in gradient.items()}
        own = {name: own[name] - rates[name] * gradient[name] for name in own}
        yield {**start, **own}


def clip_norm(gradient: Parameters, largest: float) -> Parameters:
    """Scale a gradient down to norm ``largest`` over all its tensors; a smaller one stays as it is."""
    norm = torch.sqrt(torch.stack([value.square().sum() for value in gradient.values()]).sum() + 1e-24)
    scale = (largest / norm).clamp_max(1.0)
    return {name: value * scale for name, value in gradient.items()}


def layer_names(net: nn.Module, which: str) -> list[str]:
    """Return the names of the parameters that adapt.

    ``all``; ``body``: all but the input layer; ``head``: the last layer (ANIL); ``wide``: the last layer and a linear
    part beside the body, if the net has one (DeepFM).
    """
    names = [name for name, _ in net.named_parameters()]
    if which == "all":
        return names
    if which == "head":
        return [name for name in names if name.startswith("head.")]
    if which == "wide":
        return [name for name in names if name.startswith(("head.", "linear."))]
    return [name for name in names if not name.startswith("input.")]
