"""The net that the arms start from: pooled over all learning segments, or distilled from a cross-fitted teacher."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from remedi_spark.config.adapt import AdaptConfig
from remedi_spark.models.nets.models import FieldNet, build
from remedi_spark.models.nets.training import Recipe, Rows, train
from remedi_spark.samples.layout import Layout
from remedi_spark.segments.catalog import Catalog
from remedi_spark.segments.maths.segments import SegmentRows
from remedi_spark.segments.maths.trees import CrossFitted
from remedi_spark.segments.teacher import PooledRows, Teacher, teach

Segments = Mapping[str, SegmentRows]


@dataclass(frozen=True)
class Start:
    """A net, its specification, and the teacher's trees, if it has any."""

    net: FieldNet
    spec: dict[str, Any]
    beside: CrossFitted | None = None


def fit_start(
    segments: Segments, config: AdaptConfig, spec: dict[str, Any], layout: Layout, catalog: Catalog, seed: int
) -> Start:
    """Train the net of ``adapt.start``; every worker must call this together.

    The validation segments decide when to stop: by their labels, also when the net learns from a teacher.
    """
    rows, recipe = pooled_rows(segments, catalog, layout), _recipe(config, seed)
    target, beside = rows.y, None
    if config.start == "distilled":
        taught = teach(rows, config.teacher, spec, layout, recipe)
        target = np.where(rows.valid, rows.y, 1 / (1 + np.exp(-np.clip(taught.margins, -500, 500))))
        beside = _beside(taught, segments)
        recipe = replace(recipe, epochs=config.teacher.epochs)
    trained = train(spec, Rows(rows.x, target, rows.weight, rows.valid), layout, recipe)
    net = build(trained.spec)
    net.load_state_dict(trained.state)
    net.eval()
    return Start(net, trained.spec, beside)


def _beside(taught: Teacher, segments: Segments) -> CrossFitted | None:
    if taught.grown is None:
        return None
    names = sorted(segments)
    edges = np.cumsum([0, *(len(segments[name].y) for name in names)])
    own = {name: taught.trees[edges[i] : edges[i + 1]] for i, name in enumerate(names)}
    return CrossFitted(taught.grown, own)


def pooled_rows(segments: Segments, catalog: Catalog, layout: Layout) -> PooledRows:
    """Return this worker's rows of the learning and the validation segments."""
    held = set(catalog.validation)
    number = {name: i for i, name in enumerate(sorted((*catalog.train, *catalog.validation)))}
    parts = [segments[name] for name in sorted(segments)]
    if not parts:
        none = np.empty(0)
        whole = np.empty(0, dtype=np.int64)
        return PooledRows(np.empty((0, layout.width)), none, none, np.empty(0, dtype=bool), whole, whole)
    return PooledRows(
        x=np.concatenate([part.x for part in parts]),
        y=np.concatenate([part.y for part in parts]),
        weight=np.concatenate([part.weight for part in parts]),
        valid=np.concatenate([np.full(len(part.y), part.name in held) for part in parts]),
        key=np.concatenate([part.owner if part.key is None else part.key for part in parts]),
        segment=np.concatenate([np.full(len(part.y), number[part.name]) for part in parts]),
    )


def _recipe(config: AdaptConfig, seed: int) -> Recipe:
    pooled = config.pooled
    return Recipe(
        loss="logistic", epochs=pooled.epochs, max_steps=2**31, batch_size=pooled.batch_size,
        learning_rate=pooled.learning_rate, weight_decay=pooled.weight_decay, patience=pooled.patience,
        n_bins=config.net.n_bins, seed=seed,
    )  # fmt: skip
