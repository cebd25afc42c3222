"""Two arms that `remedi adapt` does not have: gpboost's random intercepts, and a net that reads the support in context.

    remedi adapt tasks --config conf/adapt_complete_journey.yaml --root RUN
    python benchmarks/meta_learning.py --root RUN --cache RUN/cache --new-segments --draws 3 --no-trees --only
    pip install gpboost                                             # left out where it is missing
    python benchmarks/few_shot_trials.py --root RUN --cache RUN/cache

On the validation segments alone, with the tasks of the second command and beside its arms: AP, and what it is over
trees and head, paired by segment. The net stops, at each K, where it ranks other draws of these segments best, as the
arms of the product choose their factors.
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from meta_learning import KS, World, _beside, cached_world, draw_judged, interval
from torch import Tensor, nn

from remedi_spark.config import load_config
from remedi_spark.maths.ranking import average_precision
from remedi_spark.models.nets.inputs import InputStats
from remedi_spark.segments.maths.basis import Basis
from remedi_spark.segments.maths.segments import draw_task
from remedi_spark.segments.maths.tasks import Task
from remedi_spark.segments.worker import HeldOut, rules

PEER = "trees distilled"
Array = Any
Scorer = Callable[[Task], Array]
"""Scores of a task's query rows."""


def gpboost_arm(world: World, rounds: int) -> Scorer:
    """Fit boosted trees with a random intercept a segment (Sigrist, 2022); return their scores of a task's query.

    The effect of a new segment is left out: an intercept moves all its owners alike.
    """
    import gpboost

    learned = [world.segments[name] for name in world.catalog.train]
    x, y, weight = (np.concatenate([getattr(one, what) for one in learned]) for what in ("x", "y", "weight"))
    group = np.repeat(np.arange(len(learned)), [len(one.y) for one in learned])
    trees = {
        "learning_rate": 0.05, "num_leaves": 15, "min_data_in_leaf": 200, "feature_fraction": 0.3, "verbose": -1,
        "seed": 0, "num_threads": 1,
    }  # fmt: skip
    begun = time.process_time()
    model = gpboost.GPModel(likelihood="bernoulli_logit", weights=weight, group_data=group)
    booster = gpboost.train(trees, gpboost.Dataset(x, y), rounds, gp_model=model, verbose_eval=False)
    variance = round(float(np.ravel(model.get_cov_pars(format_pandas=False))[0]), 4)
    print(json.dumps({"variance": variance, "cpu_seconds": round(time.process_time() - begun)}), flush=True)
    return lambda task: np.asarray(booster.predict(task.query.x.numpy(), ignore_gp_model=True, pred_latent=True))


class InContext(nn.Module):
    """Attention within the support and from each query row to it; the answer is added to the trees' margin.

    Shapes: rows (n, width + 1), of which the last is the margin; out (query,).
    """

    def __init__(self, width: int, dim: int = 64, heads: int = 4, blocks: int = 2, dropout: float = 0.1) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.Dropout(dropout), nn.Linear(width, dim))
        self.label = nn.Linear(2, dim)
        layer = nn.TransformerEncoderLayer(dim, heads, 2 * dim, dropout, batch_first=True, norm_first=True)
        self.support = nn.TransformerEncoder(layer, blocks, enable_nested_tensor=False)
        self.ask = nn.ModuleList(nn.MultiheadAttention(dim, heads, dropout, batch_first=True) for _ in range(blocks))
        self.then = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))
            for _ in range(blocks)
        )
        self.norm = nn.ModuleList(nn.LayerNorm(dim) for _ in range(blocks))
        self.out = nn.Linear(dim, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, support: Tensor, y: Tensor, weight: Tensor, query: Tensor) -> Tensor:
        """Return the query's margins."""
        told = self.label(torch.stack([y, torch.log1p(weight)], dim=-1))
        known = self.support((self.embed(support) + told).unsqueeze(0))
        rows = self.embed(query).unsqueeze(0)
        for norm, ask, then in zip(self.norm, self.ask, self.then, strict=True):
            rows = rows + ask(norm(rows), known, known, need_weights=False)[0]
            rows = rows + then(rows)
        return query[:, -1] + self.out(rows)[0, :, 0]


class Context:
    """Trains and asks an :class:`InContext` on what a row shows and the margins of cross-fitted trees.

    ``shows``: encoded rows (n, width) to floats of about unit variance.
    """

    def __init__(self, world: World, shows: Callable[[Array], Array], beside: Any, config: Any) -> None:
        self._world, self._shows, self._beside, self._config = world, shows, beside, config
        self._rows = {
            name: self._inputs(world.segments[name].x, beside.own[name]) for name in world.catalog.train
        }  # fmt: skip

    def _inputs(self, x: Array, margin: Array) -> Tensor:
        shown = torch.from_numpy(np.asarray(self._shows(np.ascontiguousarray(x)))).float().clamp(-5, 5)
        return torch.cat([shown, torch.from_numpy(margin).float().unsqueeze(1)], dim=1)

    def train(
        self, held_out: HeldOut, iterations: int, seed: int, each: int = 100, batch: int = 8
    ) -> dict[int, Scorer]:
        """Fit on drawn tasks of the learning segments; return by K the weights that rank other draws best."""
        torch.manual_seed(seed)
        net = InContext(next(iter(self._rows.values())).shape[1])
        steps = torch.optim.AdamW(net.parameters(), 1e-3, weight_decay=1e-2)
        rate = torch.optim.lr_scheduler.OneCycleLR(steps, 1e-3, iterations + 1, pct_start=0.1)
        kept: dict[int, tuple[float, InContext]] = {}
        inputs = {k: [tuple(map(self._of_rows, task)) for _, task in tasks] for k, tasks in held_out.tasks.items()}
        for iteration in range(iterations + 1):
            if iteration % each == 0:
                found = {k: self._mean_ap(net, held_out, inputs, k) for k in KS}
                print(json.dumps({"iteration": iteration, **{k: round(ap, 4) for k, ap in found.items()}}), flush=True)
                better = [k for k in KS if k not in kept or found[k] > kept[k][0]]
                kept.update({k: (found[k], copy.deepcopy(net)) for k in better})
            net.train()
            rng, names = np.random.default_rng([seed, 11, iteration]), self._world.catalog.train
            losses = [self._loss(net, names[int(rng.integers(len(names)))], rng) for _ in range(batch)]
            steps.zero_grad()
            torch.stack([one for one in losses if one is not None]).mean().backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            steps.step()
            rate.step()
        return {k: partial(self._answer, best) for k, (_, best) in kept.items()}

    def _answer(self, net: InContext, task: Task) -> Array:
        return self._ask(net, task, tuple(map(self._of_rows, task)))

    def _loss(self, net: InContext, name: str, rng: Any) -> Tensor | None:
        rows, inputs = self._world.segments[name], self._rows[name]
        drawn = draw_task(rows, int(rng.choice(KS)), rules(self._config.adapt), rng)
        if drawn is None:
            return None
        y = torch.from_numpy(rows.y).float()
        weight = [torch.from_numpy(one).float() for one in (drawn.support_weight, drawn.query_weight)]
        margin = net(inputs[drawn.support], y[drawn.support], weight[0], inputs[drawn.query])
        loss = nn.functional.binary_cross_entropy_with_logits(margin, y[drawn.query], weight[1], reduction="sum")
        return loss / (weight[1] * y[drawn.query]).sum()

    def _of_rows(self, rows: Any) -> Tensor:
        return self._inputs(rows.x.numpy(), self._beside.trees(rows.x.numpy()))

    def _mean_ap(self, net: InContext, held_out: HeldOut, inputs: Any, k: int) -> float:
        aps = [
            average_precision(task.query.y.numpy(), self._ask(net, task, own), task.query.weight.numpy())
            for (_, task), own in zip(held_out.tasks[k], inputs[k], strict=True)
        ]
        return float(np.mean(aps))

    @staticmethod
    def _ask(net: InContext, task: Task, inputs: tuple[Tensor, ...]) -> Array:
        net.eval()
        with torch.no_grad():
            return net(inputs[0], task.support.y, task.support.weight, inputs[1]).double().numpy()


def lead(values: Array, peer: Array) -> str:
    """Return what a mean AP is over the peer's, with a 95 % bootstrap interval, paired by segment."""
    rows = np.random.default_rng(0).integers(0, len(peer), (10_000, len(peer)))
    low, high = np.quantile(values[rows].mean(1) / peer[rows].mean(1) - 1, [0.025, 0.975])
    return f"{values.mean() / peer.mean() - 1:+.1%} ({low:+.1%} to {high:+.1%})"


def main() -> None:
    """Print a line an arm and K, and write trials.json into the cache."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=Path("conf/adapt_complete_journey.yaml"))
    parser.add_argument("--root", required=True)
    parser.add_argument("--cache", type=Path, required=True, help="folder of meta_learning.py")
    parser.add_argument("--rounds", type=int, default=300, help="of gpboost's trees")
    parser.add_argument("--iterations", type=int, default=800, help="of the net, eight tasks each")
    parser.add_argument("--shown", nargs="*", default=["components", "columns"], help="to the net; none: without it")
    parser.add_argument("--gpboost", action=argparse.BooleanOptionalAction, default=True)
    given = parser.parse_args()
    given.new_segments, given.final = True, False
    torch.set_num_threads(1)
    config, cache = load_config(given.config, [], root=given.root), given.cache / "new"
    world = cached_world(config, given, cache)
    judged = draw_judged(world, world.catalog.validation, config, 3, config.seed)
    held_out = HeldOut.draw(world.segments, world.catalog, config.adapt, config.seed)
    stats = InputStats(**torch.load(cache / "distilled.pt", weights_only=True)["spec"]["stats"])
    basis = Basis.from_dict(json.loads((cache / "bayes_distilled.json").read_text())["basis"], stats)
    beside = _beside("distilled", cache)
    peers = json.loads((cache / "validation.json").read_text())["arms"]
    arms: dict[str, dict[int, Array]] = {
        name: {k: np.array(by_k[str(k)]["ap"]) for k in KS} for name, by_k in peers.items()
    }  # fmt: skip

    def show(name: str, k: int, score: Scorer) -> None:
        arms.setdefault(name, {})[k] = judged.metrics(k, [score(task) for task in judged.tasks[k]])["ap"]
        print(f"{name:<28} K = {k:<3} {interval(arms[name][k])}  {lead(arms[name][k], arms[PEER][k])}", flush=True)

    for k in KS:
        show("trees, as they are", k, lambda task: beside.trees(task.query.x.numpy()))
    shown = {"components": lambda x: basis.design(x)[:, 1:], "columns": lambda x: basis.columns(torch.from_numpy(x))}
    for what in given.shown:
        begun = time.process_time()
        ask = Context(world, shown[what], beside, config).train(held_out, given.iterations, config.seed)
        print(json.dumps({"in context": what, "cpu_seconds": round(time.process_time() - begun)}), flush=True)
        for k in KS:
            show(f"in context, of {what}", k, ask[k])
    if given.gpboost and importlib.util.find_spec("gpboost"):
        score = gpboost_arm(world, given.rounds)
        for k in KS:
            show("gpboost, random intercepts", k, score)
    (cache / "trials.json").write_text(json.dumps({n: {k: v.tolist() for k, v in a.items()} for n, a in arms.items()}))


if __name__ == "__main__":
    main()
