"""The teacher of a distilled start: boosted trees and nets of all learning segments, cross-fitted by owner.

A row's margin is the mean over models that saw no row of its owner, in any segment: a teacher that had seen the label
would hand it on. Rows of the validation segments are in no teacher's training; their margin is the mean over all folds.
Source: knowledge distillation (Hinton, Vinyals and Dean, arXiv 1503.02531), cross-fitted as in stacking (Wolpert).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from remedi_spark.config.adapt import TeacherConfig
from remedi_spark.models.nets.models import build
from remedi_spark.models.nets.training import Recipe, Rows, margin, train
from remedi_spark.models.nets.workers import gather, rank
from remedi_spark.samples.layout import Layout
from remedi_spark.segments.maths.trees import Trees

Array = npt.NDArray[np.float64]
Margins = Callable[[Array], Array]


@dataclass(frozen=True)
class PooledRows:
    """One worker's rows of all segments, one segment after the other in the order of their names.

    Attributes:
        x: encoded features, shape (n, width).
        y: 0 or 1, shape (n,).
        weight: shape (n,).
        valid: row of a validation segment, shape (n,).
        key: of the owner, shape (n,).
        segment: number of the segment, the same on every worker, shape (n,).
    """

    x: Array
    y: Array
    weight: Array
    valid: npt.NDArray[np.bool_]
    key: npt.NDArray[np.int64]
    segment: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Teacher:
    """What a teacher says of this worker's rows.

    Attributes:
        margins: mean over trees and nets, shape (n,).
        trees: mean over the trees alone, shape (n,).
        grown: the trees of all folds; None without trees.
    """

    margins: Array
    trees: Array
    grown: Trees | None


def teach(rows: PooledRows, config: TeacherConfig, spec: dict[str, Any], layout: Layout, recipe: Recipe) -> Teacher:
    """Return the teacher's margins of this worker's rows; every worker must call this together.

    Args:
        rows: of this worker, perhaps none.
        config: how many trees and nets, and how large.
        spec: of the nets, without ``stats``.
        layout: of an encoded row.
        recipe: of the nets.
    """
    fold = rows.key % config.folds
    trees, nets = np.zeros(len(rows.y)), np.zeros(len(rows.y))
    grown = _fit_trees(rows, fold, config, recipe.seed)
    for held in range(config.folds):
        away = rows.valid | (fold != held)
        scored = np.flatnonzero(~away | rows.valid)
        share = np.where(rows.valid[scored], 1 / config.folds, 1.0)
        if config.trees:
            trees[scored] += share * Trees(tuple(grown[held]))(rows.x[scored])
        learned = Rows(rows.x[away], rows.y[away], rows.weight[away], rows.valid[away])
        for number in range(config.nets):
            score = _net(spec, learned, layout, replace(recipe, seed=recipe.seed + 101 * held + number))
            nets[scored] += share / config.nets * score(rows.x[scored])
    both = (config.trees * trees + config.nets * nets) / (config.trees + config.nets)
    texts = tuple(text for of_fold in grown for text in of_fold)
    return Teacher(both, trees, Trees(texts) if texts else None)


def _net(spec: dict[str, Any], rows: Rows, layout: Layout, recipe: Recipe) -> Margins:
    trained = train(spec, rows, layout, recipe)
    net = build(trained.spec)
    net.load_state_dict(trained.state)
    return lambda x: margin(net, x)


def _fit_trees(rows: PooledRows, fold: npt.NDArray[np.int64], config: TeacherConfig, seed: int) -> list[list[str]]:
    """Return by fold the texts of the trees that did not see it.

    Trees are not grown from sums of gradients here, so all workers' rows meet, ``max_rows`` of them at most, and each
    worker grows its share of the boosters.
    """
    if not config.trees:
        return [[] for _ in range(config.folds)]
    x, y, weight, folds = _meet(rows, fold, config.max_rows, seed)
    tasks = [(held, number) for held in range(config.folds) for number in range(config.trees)]
    size = len(gather(None))
    mine = {
        task: _boost(x, y, weight, folds != task[0], config, seed + 101 * task[0] + task[1])
        for place, task in enumerate(tasks)
        if place % size == rank()
    }
    grown = {task: text for part in gather(mine) for task, text in part.items()}
    return [[grown[held, number] for number in range(config.trees)] for held in range(config.folds)]


def _meet(
    rows: PooledRows, fold: npt.NDArray[np.int64], most: int, seed: int
) -> tuple[npt.NDArray[np.float32], Array, Array, npt.NDArray[np.int64]]:
    """Return x, y, weight and fold of all workers' learning rows, at most about ``most``, the same on every worker."""
    total = sum(gather(int((~rows.valid).sum())))
    share = min(1.0, most / max(total, 1))
    kept = ~rows.valid & (_uniform(rows.key, seed) < share)
    mine = rows.x[kept].astype(np.float32), rows.y[kept], rows.weight[kept], fold[kept], rows.segment[kept]
    x, y, weight, folds, segment = (np.concatenate(parts) for parts in zip(*gather(mine), strict=True))
    # Which worker held a segment must not change a tree.
    order = np.argsort(segment, kind="stable")
    return x[order], y[order], weight[order], folds[order]


def _uniform(key: npt.NDArray[np.int64], seed: int) -> Array:
    """Return a number in [0, 1) by owner, the same wherever its rows are (Weyl sequence with SplitMix's finaliser)."""
    mixed = key.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15) * np.uint64(seed + 1)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (mixed >> np.uint64(11)).astype(np.float64) / 2**53


def _boost(
    x: npt.NDArray[np.float32], y: Array, weight: Array, learned: npt.NDArray[np.bool_], config: TeacherConfig,
    seed: int,
) -> str:  # fmt: skip
    import lightgbm

    settings = {
        "objective": "binary", "learning_rate": config.learning_rate, "num_leaves": config.leaves,
        "min_data_in_leaf": config.rows_in_leaf, "feature_fraction": config.columns, "bagging_fraction": 0.7,
        "bagging_freq": 1, "lambda_l2": 10.0, "max_bin": 63, "seed": seed, "num_threads": 1, "verbose": -1,
        "deterministic": True, "force_row_wise": True,
    }  # fmt: skip
    data = lightgbm.Dataset(x[learned], y[learned], weight=weight[learned], params=settings)
    return str(lightgbm.train(settings, data, config.rounds).model_to_string())
