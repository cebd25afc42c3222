"""The sinusoid regression of the MAML paper (arXiv 1703.03400, section 5.1) as a check of the algorithms.

    python benchmarks/sinusoid.py --algorithm maml --shots 5 --iterations 20000

Tasks y = A sin(x − phase), A ~ U[.1, 5], phase ~ U[0, π], x ~ U[−5, 5]; a 40-40 ReLU net; judged on 600 new tasks of
``shots`` support points and 100 query points. Prints one JSON object. Published 5-shot MSE after 1 / 5 / 10 steps
(70,000 iterations): .67 / .38 / .35; a net pre-trained on all tasks 2.41 / 2.23 / 2.19.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from remedi_spark.segments.maths.algorithms import ALGORITHMS
from remedi_spark.segments.maths.inner_loop import InnerLoop, net_loss, trajectory
from remedi_spark.segments.maths.tasks import Rows, Task
from remedi_spark.segments.maths.training import MetaModel, MetaRecipe, meta_train

STEPS = (0, 1, 5, 10)
TEST_TASKS = 600
TEST_QUERY = 100
META_BATCH = 25


class SineNet(nn.Module):
    """1-40-40-1 with ReLU, the last layer called ``head``."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(1, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU())
        self.head = nn.Linear(40, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, 1) from (n, 1)."""
        y: Tensor = self.head(self.body(x))
        return y


def draw_tasks(tasks: int, shots: int, query: int, generator: torch.Generator) -> Task:
    """Draw stacked tasks: support (tasks, shots, 1), query (tasks, query, 1)."""
    points = torch.rand(tasks, shots + query, generator=generator) * 10 - 5
    amplitude = torch.rand(tasks, 1, generator=generator) * 4.9 + 0.1
    phase = torch.rand(tasks, 1, generator=generator) * math.pi
    y = amplitude * torch.sin(points - phase)
    weight = torch.ones_like(y)
    rows = Rows(points.unsqueeze(-1), y, weight)
    return Task(Rows(*(part[:, :shots] for part in rows)), Rows(*(part[:, shots:] for part in rows)))


def recipe_of(algorithm: str, iterations: int) -> MetaRecipe:
    """Return the settings: the paper's for MAML but for Adam's rate, which starts higher and falls to 0 because there
    are fewer iterations; Reptile takes 10 inner steps on all points of a task, clipped: a task that runs off would
    become part of the start.
    """
    reptile = algorithm == "reptile"
    return MetaRecipe(
        algorithm=algorithm,  # type: ignore[arg-type]
        loss="mse", iterations=iterations, meta_rate=1.0 if reptile else 2e-3, inner_rate=0.02 if reptile else 0.01,
        inner=InnerLoop(10, clip=10.0) if reptile else InnerLoop(1), meta_clip=None, decay=True,
    )  # fmt: skip


def judge(net: nn.Module, model: MetaModel, tasks: Task, loop: InnerLoop) -> Iterator[Tensor]:
    """Yield the query MSE of each task, shape (tasks,), after 0, 1, …, ``loop.steps`` steps."""
    loss = net_loss(net, "mse")

    def errors(task: Task) -> Tensor:
        path = trajectory(loss, model.net, model.rates, task.support, loop)
        return torch.stack([
            (functional_call(net, own, (task.query.x,)).squeeze(1) - task.query.y).square().mean() for own in path
        ])  # fmt: skip

    yield from vmap(errors)(tasks).T


def main() -> None:
    """Meta-train, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--algorithm", choices=ALGORITHMS, default="maml")
    parser.add_argument("--shots", type=int, default=5)
    parser.add_argument("--iterations", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="torch threads; the net is too small for more than one")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    generator = torch.Generator().manual_seed(arguments.seed)
    net = SineNet()
    recipe = recipe_of(arguments.algorithm, arguments.iterations)
    wall, cpu = time.perf_counter(), time.process_time()
    trained = meta_train(net, recipe, lambda _: draw_tasks(META_BATCH, arguments.shots, arguments.shots, generator))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    unseen = draw_tasks(TEST_TASKS, arguments.shots, TEST_QUERY, torch.Generator().manual_seed(arguments.seed + 1))
    errors = torch.stack(
        list(judge(net, trained.model, unseen, replace(recipe.inner, steps=max(STEPS))))
    )  # (steps + 1, tasks)
    finite = errors.isfinite().all(0)
    kept = errors[:, finite].double()
    print(json.dumps({
        "algorithm": arguments.algorithm, "shots": arguments.shots, "iterations": arguments.iterations,
        "seed": arguments.seed, "tasks": TEST_TASKS,
        "mse_mean": {step: round(float(kept[step].mean()), 4) for step in STEPS},
        "mse_median": {step: round(float(kept[step].median()), 4) for step in STEPS},
        "mse_standard_error": {step: round(float(kept[step].std() / len(kept[step]) ** 0.5), 4) for step in STEPS},
        "diverged": int((~finite).sum()), "diverged_in_training": trained.diverged,
        "seconds": round(wall, 1), "cpu_seconds": round(cpu, 1),
    }))  # fmt: skip


if __name__ == "__main__":
    main()
