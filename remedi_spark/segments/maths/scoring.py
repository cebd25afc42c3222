"""Scores of many tasks' query rows along the steps of their adaptation, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from remedi_spark.segments.maths.inner_loop import InnerLoop, Parameters, net_loss, trajectory
from remedi_spark.segments.maths.tasks import Task


def query_margins(
    net: nn.Module, start: Parameters, rates: Mapping[str, Tensor], batch: Task, loop: InnerLoop,
    at: Sequence[int], *, loss: str, chunk: int | None = 8,
) -> Tensor:  # fmt: skip
    """Return the margins of the query rows after each number of steps in ``at``, shape (tasks, len(at), rows).

    Args:
        net: any net (its own parameters are not used).
        start: parameters before the first step.
        rates: step size by the name of each parameter that moves.
        batch: stacked tasks; margins of padding rows mean nothing.
        loop: the inner loop, of at least ``max(at)`` steps.
        at: numbers of steps, ascending.
        loss: of :func:`remedi_spark.segments.maths.inner_loop.net_loss`.
        chunk: tasks to run at once.
    """
    objective = net_loss(net, loss)

    def margins(task: Task) -> Tensor:
        found = []
        for step, own in enumerate(trajectory(objective, start, rates, task.support, loop)):
            if step in at:
                found.append(functional_call(net, own, (task.query.x,)).mean(1))
        return torch.stack(found)

    with torch.no_grad():
        scored: Tensor = vmap(margins, chunk_size=chunk)(batch)
    return scored
