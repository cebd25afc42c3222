"""One meta-gradient a task, all tasks of a batch side by side.

With θ'_i the parameters that task i reaches from θ on its support rows S_i, and Q_i its query rows:

- MAML (arXiv 1703.03400): ∇_θ L_Q(θ'_i), through the inner steps.
- FOMAML (same paper, section 5.2): ∇ L_Q at θ'_i, the inner gradients taken as constants.
- ANIL (arXiv 1909.09157): MAML in which the inner loop moves the head alone.
- Reptile (arXiv 1803.02999): θ − θ'_i after more than one step on all rows of the task, as if it were a gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.func import grad_and_value, vmap

from remedi_spark.segments.maths.inner_loop import InnerLoop, Parameters, TaskLoss, adapt
from remedi_spark.segments.maths.tasks import Rows, Task, join_rows

Algorithm = Literal["maml", "fomaml", "anil", "reptile"]
ALGORITHMS: tuple[str, ...] = get_args(Algorithm)


@dataclass(frozen=True)
class MetaGradient:
    """Sums over the tasks of a batch that did not diverge.

    Attributes:
        flat: gradient of all parameters, then of all learned log rates, in their order, one after the other.
        loss: query loss after adaptation (Reptile: loss on all rows).
        tasks: tasks in the sums.
        diverged: tasks left out because their loss or gradient was not finite.
    """

    flat: Tensor
    loss: float
    tasks: int
    diverged: int


StackedGradients = tuple[Parameters, Parameters, Tensor]
"""By task: gradient of each parameter, gradient of each log rate (empty unless learned), query loss (tasks,)."""


def task_gradients(
    algorithm: Algorithm, loss: TaskLoss, loop: InnerLoop, *, learn_rates: bool = False, chunk: int | None = None
) -> Callable[[Parameters, Parameters, Task], StackedGradients]:
    """Return the function (θ, log α, stacked tasks) -> meta-gradients by task.

    Args:
        algorithm: one of ``ALGORITHMS``; ANIL differs from MAML by the names in log α alone.
        loss: of one task.
        loop: the inner loop.
        learn_rates: differentiate by log α too (Meta-SGD); not for Reptile, which is no gradient of a loss.
        chunk: tasks to run at once; None: all.
    """
    if algorithm == "reptile":
        return _reptile(loss, loop, chunk)

    def query_loss(start: Parameters, log_rates: Parameters, task: Task) -> Tensor:
        first_order = algorithm == "fomaml"
        adapted = adapt(loss, start, _rates(log_rates), task.support, loop, first_order=first_order)
        return loss(adapted, task.query)

    by_task = vmap(
        grad_and_value(query_loss, argnums=(0, 1) if learn_rates else (0,)), in_dims=(None, None, 0), chunk_size=chunk
    )

    def gradients(start: Parameters, log_rates: Parameters, batch: Task) -> StackedGradients:
        found, losses = by_task(start, log_rates, batch)
        return found[0], found[1] if learn_rates else {}, losses

    return gradients


def _reptile(
    loss: TaskLoss, loop: InnerLoop, chunk: int | None
) -> Callable[[Parameters, Parameters, Task], StackedGradients]:
    def towards_start(start: Parameters, log_rates: Parameters, rows: Rows) -> StackedGradients:
        adapted = adapt(loss, start, _rates(log_rates), rows, loop, first_order=True)
        return {name: start[name] - adapted[name] for name in start}, {}, loss(adapted, rows)

    by_task = vmap(towards_start, in_dims=(None, None, 0), chunk_size=chunk)

    def gradients(start: Parameters, log_rates: Parameters, batch: Task) -> StackedGradients:
        found: StackedGradients = by_task(start, log_rates, join_rows(batch.support, batch.query))
        return found

    return gradients


def sum_finite(gradients: StackedGradients) -> MetaGradient:
    """Sum over the tasks, those that diverged left out."""
    net, log_rates, losses = gradients
    flat = torch.cat([value.flatten(1) for value in (*net.values(), *log_rates.values())], dim=1)  # (tasks, parameters)
    finite = flat.isfinite().all(1) & losses.isfinite()
    kept = int(finite.sum())
    if kept < len(losses):
        flat, losses = flat[finite], losses[finite]
    return MetaGradient(flat.sum(0), float(losses.double().sum()), kept, len(finite) - kept)


def _rates(log_rates: Mapping[str, Tensor]) -> Parameters:
    return {name: value.exp() for name, value in log_rates.items()}


def initial_log_rates(parameters: Parameters, rate: float, *, by_weight: bool = False) -> Parameters:
    """Return log α of each parameter that adapts, all the same: shape (1,), or with ``by_weight`` the parameter's."""
    return {
        name: torch.full_like(value, rate).log() if by_weight else torch.tensor([rate]).log()
        for name, value in parameters.items()
    }
