"""Ten buyers of a category: meta-learned arms against pooled, fine-tuned and tree baselines on Complete Journey.

    remedi adapt tasks --config conf/adapt_complete_journey.yaml --root RUN
    python benchmarks/meta_learning.py --root RUN --cache RUN/cache [--new-segments] [--final]

Without ``--final`` everything is judged on the validation segments, where all choices are made; with it, once, on the
test segments. ``--new-segments`` hides the owners' history in the segment itself. Prints JSON.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import torch

from remedi_spark.columns import FOLD, LABEL, OWNER, ROW_HASH, SNAPSHOT, WEIGHT
from remedi_spark.config import Config, load_config
from remedi_spark.features.expressions import slug
from remedi_spark.maths.ranking import ranking_metrics
from remedi_spark.models.nets.inputs import InputStats
from remedi_spark.models.nets.models import build
from remedi_spark.samples.encoder_fit import encode, fit_encoder
from remedi_spark.samples.flat import FlatTable
from remedi_spark.samples.layout import Layout
from remedi_spark.segments.bayes import learn_bayes
from remedi_spark.segments.catalog import Catalog, catalogue
from remedi_spark.segments.history import SEGMENT
from remedi_spark.segments.maths.arms import LOSS, Support, fit_arm, margins_of
from remedi_spark.segments.maths.inner_loop import InnerLoop, layer_names
from remedi_spark.segments.maths.scoring import query_margins
from remedi_spark.segments.maths.segments import SegmentRows, as_task, draw_task, query_times
from remedi_spark.segments.maths.tasks import Task, stack_tasks
from remedi_spark.segments.maths.training import MetaModel, meta_train
from remedi_spark.segments.maths.trees import CrossFitted, Trees
from remedi_spark.segments.meta_model import build_bayes
from remedi_spark.segments.meta_training import segments_of
from remedi_spark.segments.rows import hashed, read_segments, thin_out
from remedi_spark.segments.start import fit_start
from remedi_spark.segments.worker import HeldOut, recipe, rules, task_source

OWN = ("own_", "segment_buyers", "segment_gap", "segment_value")
BUDGET = 0.075
KS = (5, 10, 20, 50)
STARTS = ("pooled", "distilled")
"""Values of ``adapt.start``; MAML and its kin, and the peer, start from the first."""
META = {
    "maml": {"algorithm": "maml", "layers": "wide", "learn_rates": "weight"},
    "fomaml": {"algorithm": "fomaml", "layers": "wide", "learn_rates": "weight"},
    "anil": {"algorithm": "anil", "learn_rates": "weight"},
    "reptile": {"algorithm": "reptile", "layers": "wide", "learn_rates": "no", "meta_rate": 0.3, "inner_rate": 0.02},
    "balanced": {"algorithm": "fomaml", "layers": "wide", "learn_rates": "no", "inner_steps": 0},
}
"""Meta-trainings; ``balanced`` has no inner step: the pooled net trained on with every segment weighing the same."""
FINE_TUNE = [("wide", 0.02), ("wide", 0.1), ("all", 0.003), ("all", 0.02), ("head", 0.05)]
"""Layers and rates of plain gradient steps; ``head``: the pooled head only."""
STEPS = (1, 3, 10)


@dataclass(frozen=True)
class World:
    """Encoded segments by name, what the numbers are, and the segments' roles."""

    segments: dict[str, SegmentRows]
    layout: Layout
    catalog: Catalog


@dataclass(frozen=True)
class Judged:
    """Tasks of the judged segments by K, stacked, with the segment of each."""

    names: dict[int, list[str]]
    tasks: dict[int, list[Task]]

    def metrics(self, k: int, scores: Any) -> dict[str, np.ndarray[Any, Any]]:
        """Return AP, NDCG and recall at the budget by segment; ``scores``: one array a task."""
        found: dict[str, dict[str, list[float]]] = {}
        for name, task, padded in zip(self.names[k], self.tasks[k], scores, strict=True):
            y, weight = task.query.y.numpy(), task.query.weight.numpy()
            own = np.asarray(padded, dtype=np.float64)[: len(y)]
            if not np.isfinite(own).all():  # diverged: no skill
                own = np.zeros(len(y))
            budget = BUDGET * float(weight.sum())
            one = found.setdefault(name, {"ap": [], "ndcg": [], "recall": []})
            measured = ranking_metrics(y, own, budget, weight)
            for what, metric in (("ap", "ap"), ("ndcg", "ndcg_at_k"), ("recall", "recall_at_k")):
                one[what].append(measured[metric])
        return {
            what: np.array([np.mean(found[name][what]) for name in sorted(found)]) for what in ("ap", "ndcg", "recall")
        }


def load_world(config: Config, *, new: bool, final: bool, negatives: int = 250) -> World:
    """Read the rows with Spark, thin out what is not judged, encode, fetch."""
    from pyspark.sql import functions as F

    from remedi_spark.spark.session import get_session
    from remedi_spark.storage.tables import Tables

    spark = get_session(config.spark)
    adapt = config.adapt
    table = Tables(spark, config.root).location("segment_rows")
    source = FlatTable(table, LABEL, OWNER, SNAPSHOT)
    adapt = adapt.model_copy(update={"segment": [SEGMENT]})
    read = read_segments(spark, source, adapt)
    catalog = catalogue(read.rows, adapt.tasks, adapt.split, table)
    if new:
        read = read_segments(spark, source, adapt.model_copy(update={"drop": _hidden(read.contract.names, catalog)}))
    judged = F.col(SEGMENT).isin(list(catalog.test if final else catalog.validation))
    early = F.col(SNAPSHOT) <= F.lit(adapt.split.learn_until)
    learned = early & F.col(SEGMENT).isin(*catalog.train)
    rows = hashed(read.rows.where((judged if final else judged & early) | learned))
    last = rows.where(judged).agg(F.max(SNAPSHOT)).head(1)[0][0]
    whole = judged & (F.col(SNAPSHOT) == F.lit(last))
    kept = thin_out(rows.where(~whole), negatives).unionByName(rows.where(whole).withColumn(WEIGHT, F.lit(1.0)))
    kept = kept.withColumn(FOLD, F.lit(0))
    encoder = fit_encoder(
        kept.where(F.col(SEGMENT).isin(*catalog.train)), read.contract, config.encoding, folds=1, binary=True
    )
    day = F.datediff(SNAPSHOT, F.lit("1970-01-01").cast("date")).cast("long").alias("day")
    encoded = encode(kept, encoder).select(
        SEGMENT, F.xxhash64(F.col(OWNER).cast("string")).alias("owner"), day, LABEL, WEIGHT, ROW_HASH, "x"
    )
    batches = encoded.orderBy(SEGMENT, ROW_HASH)._collect_as_arrow()
    import pyarrow as pa

    return World(segments_of(pa.Table.from_batches(batches), encoder.layout), encoder.layout, catalog)


def _hidden(features: list[str], catalog: Catalog) -> list[str]:
    """Return the features that a new segment does not have: history in it, purchases of what is judged."""
    unknown = {f"category_{slug(name)}_" for name in (*catalog.validation, *catalog.test)}
    return [name for name in features if name.startswith((*OWN, *unknown))]


def draw_judged(world: World, names: tuple[str, ...], config: Config, draws: int, seed: int) -> Judged:
    """Draw the judged tasks at each segment's latest moment."""
    found: tuple[dict[int, list[str]], dict[int, list[Task]]] = ({}, {})
    how = rules(config.adapt, whole_query=True)
    for k in KS:
        found[0][k], found[1][k] = [], []
        for number, name in enumerate(names):
            rows = world.segments[name]
            for draw in range(draws):
                rng = np.random.default_rng([seed, 9, number, draw, k])
                drawn = draw_task(rows, k, how, rng, moment=int(query_times(rows, how)[-1]))
                if drawn is not None:
                    found[0][k].append(name)
                    found[1][k].append(as_task(rows, drawn))
    return Judged(*found)


def along(
    net: Any, start: Any, rates: Mapping[str, Any], judged: Judged, loop: InnerLoop, at: tuple[int, ...]
) -> dict[int, Any]:
    """Return the metrics by K and number of steps."""
    found = {}
    for k, tasks in judged.tasks.items():
        margins = query_margins(net, start, rates, stack_tasks(tasks), loop, at, loss=LOSS).numpy()
        found[k] = {step: judged.metrics(k, margins[:, i]) for i, step in enumerate(at)}
    return found


def net_arms(
    config: Config, world: World, judged: Judged, cache: Path, seed: int, only: list[str] | None, kinds: list[str]
) -> Iterator[tuple[str, dict[int, Any]]]:
    """Yield the arms of nets: name (with step where several are tried) and metrics by K."""
    adapt = config.adapt
    torch.manual_seed(seed)
    net, spec, pooled = _start("pooled", adapt, world, cache, seed)
    starts = {name: MetaModel(_start(name, adapt, world, cache, seed)[2], {}) for name in kinds}
    for name, changes in META.items():
        if only is None or name in only:
            starts[name] = _meta(net, adapt, name, changes, world, cache, seed, pooled)
    for name, model in starts.items():
        steps = 0 if name in (*STARTS, "balanced") else adapt.meta.inner_steps
        at = tuple(range(steps + 1))
        for step, by_k in _by_step(along(net, model.net, model.rates, judged, InnerLoop(steps), at)).items():
            yield f"{name}@{step}", by_k
    for base in (*kinds, "balanced"):
        for layers, rate in FINE_TUNE if base in starts else ():
            steady = {one: torch.tensor([rate]) for one in layer_names(net, layers)}
            found = along(net, starts[base].net, steady, judged, InnerLoop(max(STEPS), clip=10.0), STEPS)
            for step, by_k in _by_step(found).items():
                yield f"fine_tuned {base} {layers} {rate}@{step}", by_k
    fresh = build(spec)
    fresh.eval()
    random = {key: value.detach() for key, value in fresh.named_parameters()}
    for rate in (0.02,):
        steady = {one: torch.tensor([rate]) for one in random}
        for step, by_k in _by_step(along(net, random, steady, judged, InnerLoop(20, clip=10.0), (20,))).items():
            yield f"scratch {rate}@{step}", by_k


def _by_step(found: dict[int, Any]) -> dict[int, dict[int, Any]]:
    steps = next(iter(found.values()))
    return {step: {k: by_step[step] for k, by_step in found.items()} for step in steps}


def _start(kind: str, adapt: Any, world: World, cache: Path, seed: int) -> tuple[Any, Any, Any]:
    """Return the net, its specification and its parameters for one value of ``adapt.start``."""
    path = cache / f"{kind}.pt"
    learned = {
        name: world.segments[name]
        for name in (*world.catalog.train, *world.catalog.validation)
        if name in world.segments
    }
    if not path.exists():
        begun = time.process_time()
        config = adapt.model_copy(update={"start": kind})
        fitted = fit_start(learned, config, adapt.net.spec(), world.layout, world.catalog, seed)
        stored = {"spec": fitted.spec, "state": fitted.net.state_dict(), "beside": None}
        if fitted.beside is not None:
            own = {name: torch.from_numpy(margins) for name, margins in fitted.beside.own.items()}
            stored["beside"] = {"texts": list(fitted.beside.trees.texts), "own": own}
        torch.save(stored, path)
        print(json.dumps({"start": kind, "cpu_seconds": round(time.process_time() - begun)}), flush=True)
    stored = torch.load(path, weights_only=True)
    net = build(stored["spec"])
    net.load_state_dict(stored["state"])
    net.eval()
    return net, stored["spec"], {key: value.detach().clone() for key, value in net.named_parameters()}


def _beside(kind: str, cache: Path) -> CrossFitted | None:
    """Return the trees of a start that :func:`_start` has fitted."""
    kept = torch.load(cache / f"{kind}.pt", weights_only=True).get("beside")
    if kept is None:
        return None
    return CrossFitted(Trees(tuple(kept["texts"])), {name: own.numpy() for name, own in kept["own"].items()})


def _meta(
    net: Any, adapt: Any, name: str, changes: Any, world: World, cache: Path, seed: int, pooled: Any
) -> MetaModel:
    path = cache / f"{name}.pt"
    if not path.exists():
        config = adapt.model_copy(update={"meta": adapt.meta.model_copy(update=changes)})
        net.load_state_dict({**net.state_dict(), **pooled})
        begun = time.process_time()
        trained = meta_train(net, recipe(config), task_source(world.segments, world.catalog, config, seed))
        torch.save({"net": trained.model.net, "log_rates": trained.model.log_rates}, path)
        say = {"diverged": trained.diverged, "cpu_seconds": round(time.process_time() - begun)}
        print(json.dumps({"meta-training": name, **say}), flush=True)
    stored = torch.load(path, weights_only=True)
    return MetaModel(stored["net"], stored["log_rates"])


def bayes_arms(
    start: str, config: Config, world: World, judged: Judged, cache: Path
) -> Iterator[tuple[str, dict[int, Any]]]:
    """Yield a start plus a linear head on principal components at its posterior mode.

    Basis and prior come from the learning segments, the prior's scale from other draws of the validation segments.
    """
    net, spec, pooled = _start(start, config.adapt, world, cache, config.seed)
    path = cache / f"bayes_{start}.json"
    if not path.exists():
        begun = time.process_time()
        held_out = HeldOut.draw(world.segments, world.catalog, config.adapt, config.seed)
        learned = [world.segments[name] for name in world.catalog.train]
        stats, beside = InputStats(**spec["stats"]), _beside(start, cache)
        found = learn_bayes(net, pooled, stats, learned, held_out.tasks, config.adapt.bayes, beside)
        path.write_text(json.dumps(found))
        print(json.dumps({"prior": "learned", "cpu_seconds": round(time.process_time() - begun)}), flush=True)
    stored = json.loads(path.read_text())
    print(json.dumps({"prior scale by K": stored["scale"]}), flush=True)
    by_arm: dict[str, dict[int, Any]] = {}
    for k, tasks in judged.tasks.items():
        for name, arm in build_bayes(pooled, stored, spec, k).items():
            scores = []
            for support, query in tasks:
                y, weight = support.y.double().numpy(), support.weight.double().numpy()
                fitted = fit_arm(net, arm, Support(support.x.numpy(), y, weight, np.arange(len(y))))
                assert fitted is not None, "a posterior mode is finite"
                scores.append(margins_of(net, fitted, query.x.numpy()))
            by_arm.setdefault(f"{name} {start}", {})[k] = judged.metrics(k, scores)
    yield from by_arm.items()


def tree_arms(world: World, judged: Judged) -> Iterator[tuple[str, dict[int, Any]]]:
    """Yield boosted trees on the support alone, and pooled over all learning segments."""
    learned = [world.segments[name] for name in world.catalog.train]
    x, y, weight = (np.concatenate([getattr(one, what) for one in learned]) for what in ("x", "y", "weight"))
    plain = {"objective": "binary", "verbose": -1, "num_threads": 1, "seed": 0}
    pooled = lgb.train({**plain, "learning_rate": 0.1, "min_data_in_leaf": 100}, lgb.Dataset(x, y, weight=weight), 120)
    yield (
        "trees pooled",
        {
            k: judged.metrics(k, [pooled.predict(task.query.x.numpy(), raw_score=True) for task in tasks])
            for k, tasks in judged.tasks.items()
        },
    )
    small = {
        **plain,
        "learning_rate": 0.1,
        "num_leaves": 4,
        "min_data_in_leaf": 3,
        "min_sum_hessian_in_leaf": 1e-3,
        "lambda_l2": 1.0,
    }
    yield (
        "trees on support",
        {k: judged.metrics(k, [_support_trees(task, small) for task in tasks]) for k, tasks in judged.tasks.items()},
    )


def _support_trees(task: Task, settings: dict[str, Any]) -> Any:
    data = lgb.Dataset(task.support.x.numpy(), task.support.y.numpy(), weight=task.support.weight.numpy())
    return lgb.train(settings, data, 40).predict(task.query.x.numpy(), raw_score=True)


def interval(values: Any, seed: int = 0) -> list[float]:
    """Return mean and 95 % bootstrap interval over segments."""
    rng = np.random.default_rng(seed)
    means = rng.choice(values, (1000, len(values))).mean(1)
    return [round(float(v), 4) for v in (values.mean(), *np.quantile(means, [0.025, 0.975]))]


def main() -> None:
    """Run all arms, print one line an arm and a JSON of everything at the end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=Path("conf/adapt_complete_journey.yaml"))
    parser.add_argument("--root", required=True)
    parser.add_argument("--cache", type=Path, required=True, help="folder for rows and nets between calls")
    parser.add_argument("--new-segments", action="store_true")
    parser.add_argument("--final", action="store_true")
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--only", nargs="*", help="meta-trainings; default: all")
    parser.add_argument("--starts", nargs="*", choices=STARTS, default=STARTS, help="default: both")
    parser.add_argument("--trees", action=argparse.BooleanOptionalAction, default=True, help="boosted trees too")
    parser.add_argument("--set", nargs="*", default=[], dest="overrides")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    config = load_config(arguments.config, arguments.overrides, root=arguments.root)
    cache = arguments.cache / ("new" if arguments.new_segments else "established")
    cache.mkdir(parents=True, exist_ok=True)
    world = cached_world(config, arguments, cache)
    names = world.catalog.test if arguments.final else world.catalog.validation
    judged = draw_judged(world, names, config, arguments.draws, config.seed)
    out = cache / ("final.json" if arguments.final else "validation.json")
    kept = {"segments": len(names), "draws": arguments.draws}
    before = json.loads(out.read_text()) if out.exists() else {}
    # Arms of an earlier call on the same tasks stay: arms can be run apart.
    found = before["arms"] if {key: before.get(key) for key in kept} == kept else {}
    nets = net_arms(config, world, judged, cache, config.seed, arguments.only, arguments.starts)
    bayes = itertools.chain.from_iterable(bayes_arms(start, config, world, judged, cache) for start in arguments.starts)
    for arm, by_k in itertools.chain(bayes, tree_arms(world, judged) if arguments.trees else (), nets):
        found[arm] = {str(k): {what: values.tolist() for what, values in one.items()} for k, one in by_k.items()}
        print(f"{arm:<36}", {k: interval(one["ap"]) for k, one in by_k.items()}, flush=True)
        out.write_text(json.dumps({**kept, "arms": found}))
    print(json.dumps({"written": str(out)}))


def cached_world(config: Config, arguments: argparse.Namespace, cache: Path) -> World:
    """Return the world of an earlier call, or make it: Spark need not read the table for every look."""
    path = cache / f"world-{'final' if arguments.final else 'tuning'}.npz"
    if not path.exists():
        world = load_world(config, new=arguments.new_segments, final=arguments.final)
        arrays = {
            f"{i}/{what}": getattr(rows, what) for i, rows in enumerate(world.segments.values()) for what in _PARTS
        }
        facts = {"names": list(world.segments), "layout": world.layout.to_dict(), "catalog": world.catalog.to_dict()}
        np.savez(path, facts=json.dumps(facts), **arrays)
        return world
    stored = np.load(path)
    facts = json.loads(str(stored["facts"]))
    segments = {
        name: SegmentRows(name, *(stored[f"{i}/{what}"] for what in _PARTS)) for i, name in enumerate(facts["names"])
    }
    roles = {key: value if key == "refused" else tuple(value) for key, value in facts["catalog"].items()}
    return World(segments, Layout.from_dict(facts["layout"]), Catalog(**roles))


_PARTS = ("x", "y", "owner", "time", "weight", "key")


if __name__ == "__main__":
    main()
