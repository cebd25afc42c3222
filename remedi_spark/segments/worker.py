"""What one worker of a meta-training does: pooled net, meta-learned start, evidence on the validation segments."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from remedi_spark.config.adapt import AdaptConfig
from remedi_spark.maths.ranking import average_precision
from remedi_spark.models.contract import FitError
from remedi_spark.models.nets.inputs import InputStats
from remedi_spark.models.nets.models import FieldNet, build
from remedi_spark.models.nets.workers import gather
from remedi_spark.samples.layout import Layout
from remedi_spark.segments.bayes import learn_bayes
from remedi_spark.segments.catalog import Catalog
from remedi_spark.segments.maths.arms import (
    LOSS,
    POOLED,
    Arm,
    BayesArm,
    Support,
    fit_arm,
    margins_of,
    net_margins,
)
from remedi_spark.segments.maths.inner_loop import InnerLoop, Parameters
from remedi_spark.segments.maths.level import learn_level, level_likelihood
from remedi_spark.segments.maths.scoring import query_margins
from remedi_spark.segments.maths.segments import SegmentRows, TaskRules, as_task, draw_task, query_times
from remedi_spark.segments.maths.tasks import Task, stack_tasks
from remedi_spark.segments.maths.training import MetaModel, MetaRecipe, TaskSource, meta_train
from remedi_spark.segments.meta_model import best_arms, build_arms, build_bayes, pack
from remedi_spark.segments.start import Start, fit_start

Segments = Mapping[str, SegmentRows]
HELD_OUT_DRAWS = 3
"""Tasks of each validation segment and K, drawn once, on which everything is compared."""


def learn(
    segments: Segments, config: AdaptConfig, spec: dict[str, Any], layout: Layout, catalog: Catalog, seed: int
) -> bytes:
    """Train, meta-train, judge; every worker of the process group must call this together.

    Returns:
        JSON facts, a zero byte, the pooled net, the adapted start.
    """
    begun = fit_start(segments, config, spec, layout, catalog, seed)
    net, spec = begun.net, begun.spec
    pooled = {name: value.detach().clone() for name, value in net.named_parameters()}
    held_out = HeldOut.draw(segments, catalog, config, seed)
    if config.meta.start == "random":
        torch.manual_seed(seed)
        net.load_state_dict({**net.state_dict(), **dict(build(spec).named_parameters())})
    trained = meta_train(
        net, recipe(config), task_source(segments, catalog, config, seed),
        lambda _, model: -held_out.mean_ap(net, model, _inner(config)),
    )  # fmt: skip
    if not np.isfinite(trained.losses).any():
        raise FitError("every task of the meta-training diverged; lower adapt.meta.inner_rate")
    facts: dict[str, Any] = {
        "spec": spec,
        "algorithm": config.meta.algorithm,
        "inner": {"steps": config.meta.inner_steps, "clip": config.meta.inner_clip, "proximal": config.meta.proximal},
        "fine_tune": {
            "rate": config.pooled.fine_tune_rate, "steps": config.pooled.fine_tune_steps,
            "layers": config.pooled.fine_tune_layers, "clip": config.meta.inner_clip,
        },
        "losses": trained.losses, "checks": trained.checks, "diverged": trained.diverged,
    }  # fmt: skip
    starts = {"pooled": pooled, "adapted": trained.model.net}
    bayes = _bayes(begun, pooled, segments, config, held_out, catalog)
    steady = build_arms(net, starts, trained.model.rates, facts)
    arms: dict[int, dict[str, Arm | BayesArm]] = {k: {**steady} for k in held_out.tasks}
    if bayes:
        for k, of_k in arms.items():
            of_k.update(build_bayes(pooled, bayes, spec, k))
    facts["validation"] = held_out.evidence(net, arms)
    facts["default"] = best_arms(facts["validation"])
    facts["level"] = _level(net, pooled, segments, catalog)
    facts["bayes"] = bayes
    payload = {name: pack(spec, {**net.state_dict(), **own}, trained.model.rates) for name, own in starts.items()}
    facts["pooled_bytes"] = len(payload["pooled"])
    return json.dumps(facts).encode() + b"\0" + payload["pooled"] + payload["adapted"]


def _bayes(
    start: Start, pooled: Parameters, segments: Segments, config: AdaptConfig, held_out: HeldOut, catalog: Catalog
) -> dict[str, Any]:  # fmt: skip
    """Return what ``bayes.json`` keeps; empty when the configuration wants no such arm."""
    if not config.bayes.dims:
        return {}
    learned = [segments[name] for name in catalog.train if name in segments]
    stats = InputStats(**start.spec["stats"])
    return learn_bayes(start.net, pooled, stats, learned, held_out.tasks, config.bayes, start.beside)


def _level(net: FieldNet, pooled: Parameters, segments: Segments, catalog: Catalog) -> dict[str, float]:
    """Return how the learning segments' base rates differ from what the start says of their owners."""
    mine = {
        name: level_likelihood(net_margins(net, pooled, one.x), one.y, one.weight)
        for name, one in segments.items()
        if name in catalog.train and 0 < one.y.sum() < len(one.y)
    }
    everyone = {name: found for part in gather(mine) for name, found in part.items()}
    return learn_level([everyone[name] for name in sorted(everyone)])


def recipe(config: AdaptConfig) -> MetaRecipe:
    """Return the recipe of a configuration."""
    meta = config.meta
    return MetaRecipe(
        algorithm=meta.algorithm, loss=LOSS, iterations=meta.iterations, meta_rate=meta.meta_rate,
        inner_rate=meta.inner_rate, inner=_inner(config), layers=meta.layers, learn_rates=meta.learn_rates,
        rate_factor=meta.rate_factor,
        meta_clip=meta.meta_clip, check_every=meta.check_every, patience=meta.patience, decay=True,
    )  # fmt: skip


def _inner(config: AdaptConfig) -> InnerLoop:
    return InnerLoop(config.meta.inner_steps, config.meta.inner_clip, config.meta.proximal)


def rules(config: AdaptConfig, *, whole_query: bool = False) -> TaskRules:
    """Return how tasks are drawn; ``whole_query``: judge on every query row."""
    tasks = config.tasks
    return TaskRules(tasks.support_rows, None if whole_query else tasks.query_rows, tasks.gap_days, tasks.history_days)


def task_source(segments: Segments, catalog: Catalog, config: AdaptConfig, seed: int) -> TaskSource:
    """Return this worker's share of each meta-batch; the batch itself is the same whatever the workers hold."""
    how = rules(config)

    def source(iteration: int) -> Task | None:
        batch = np.random.default_rng([seed, 1, iteration])
        tasks = []
        for place in range(config.meta.tasks_per_batch):
            name = catalog.train[int(batch.integers(len(catalog.train)))]
            k = int(batch.choice(config.tasks.positives))
            if name not in segments:
                continue
            drawn = _draw(segments[name], k, how, np.random.default_rng([seed, 2, iteration, place]))
            if drawn is not None:
                tasks.append(drawn)
        return stack_tasks(tasks) if tasks else None

    return source


def _draw(
    rows: SegmentRows, k: int, how: TaskRules, rng: np.random.Generator, moment: int | None = None
) -> Task | None:
    drawn = draw_task(rows, k, how, rng, moment=moment)
    return None if drawn is None else as_task(rows, drawn)


class HeldOut:
    """Tasks of the validation segments that this worker holds, by K."""

    def __init__(self, tasks: dict[int, list[tuple[str, Task]]]) -> None:
        self.tasks = tasks

    @classmethod
    def draw(cls, segments: Segments, catalog: Catalog, config: AdaptConfig, seed: int) -> HeldOut:
        """Draw the latest moment of each segment; a K that a segment cannot have is left out."""
        tasks: dict[int, list[tuple[str, Task]]] = {}
        for k in config.tasks.positives:
            tasks[k] = []
            for number, name in enumerate(catalog.validation):
                if name not in segments or not len(query_times(segments[name], rules(config))):
                    continue
                latest = int(query_times(segments[name], rules(config))[-1])
                for draw in range(HELD_OUT_DRAWS):
                    rng = np.random.default_rng([seed, 3, number, draw, k])
                    task = _draw(segments[name], k, rules(config, whole_query=True), rng, latest)
                    if task is not None:
                        tasks[k].append((name, task))
        return cls(tasks)

    def mean_ap(self, net: FieldNet, model: MetaModel, loop: InnerLoop) -> float:
        """Return the adapted AP, mean over segments and then over K and workers."""
        mine = [
            (k, name, ap)
            for k in self.tasks
            for name, ap in self.by_segment(net, model.net, model.rates, loop, k).items()
        ]
        everything = [one for part in gather(mine) for one in part]
        by_k = [np.mean([ap for k_, _, ap in everything if k_ == k]) for k in {k for k, _, _ in everything}]
        return float(np.mean(by_k)) if by_k else float("nan")

    def by_segment(self, net: FieldNet, start: Parameters, rates: Any, loop: InnerLoop, k: int) -> dict[str, float]:
        """Return the AP after the inner loop by segment, mean over its tasks; a diverged task counts as no skill."""
        if not self.tasks[k]:
            return {}
        batch = stack_tasks([task for _, task in self.tasks[k]])
        margins = query_margins(net, start, rates, batch, loop, [loop.steps], loss=LOSS)[:, 0]
        return self._aps(k, [scores.double().numpy() for scores in margins])

    def by_segment_bayes(self, net: FieldNet, arm: BayesArm, k: int) -> dict[str, float]:
        """Return the AP of the Bayesian arm by segment, mean over its tasks."""
        margins = []
        for _, (support, query) in self.tasks[k]:
            y, weight = support.y.double().numpy(), support.weight.double().numpy()
            fitted = fit_arm(net, arm, Support(support.x.numpy(), y, weight, np.arange(len(y))))
            assert fitted is not None, "a posterior mode is finite"
            margins.append(margins_of(net, fitted, query.x.numpy()))
        return self._aps(k, margins)

    def _aps(self, k: int, margins: Sequence[Any]) -> dict[str, float]:
        """Return mean APs by segment from the margins of each task, whose padding is left out."""
        found: dict[str, list[float]] = {}
        for (name, task), scores in zip(self.tasks[k], margins, strict=True):
            own = scores[: len(task.query.y)]
            own = own if np.isfinite(own).all() else np.zeros_like(own)
            ap = average_precision(task.query.y.numpy(), own, task.query.weight.numpy())
            found.setdefault(name, []).append(ap)
        return {name: float(np.mean(aps)) for name, aps in found.items()}

    def _of_arm(self, net: FieldNet, arm: Arm | BayesArm, k: int) -> dict[str, float]:
        if isinstance(arm, BayesArm):
            return self.by_segment_bayes(net, arm, k)
        return self.by_segment(net, arm.start, arm.rates, arm.loop, k)

    def evidence(self, net: FieldNet, arms: Mapping[int, Mapping[str, Arm | BayesArm]]) -> dict[str, Any]:
        """Return, by K and arm, AP and its difference to the pooled arm: mean and deviation over segments."""
        mine = {k: {name: self._of_arm(net, arm, k) for name, arm in arms[k].items()} for k in self.tasks}
        workers = gather(mine)
        return {
            str(k): _summary([worker[k] for worker in workers])
            for k in self.tasks
            if any(w[k][POOLED] for w in workers)
        }


def _summary(workers: Sequence[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    aps = {arm: {n: ap for worker in workers for n, ap in worker[arm].items()} for arm in workers[0]}
    base = aps[POOLED]
    differences = {arm: np.array([aps[arm][name] - base[name] for name in sorted(base)]) for arm in aps}
    return {
        arm: {
            "ap": float(np.mean(list(aps[arm].values()))), "segments": len(base),
            "difference": float(differences[arm].mean()), "deviation": float(differences[arm].std()),
        }
        for arm in aps
    }  # fmt: skip
