"""What one worker does for the Bayesian arm: the basis, the prior from the learning segments, its scale by K."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from remedi_spark.config.adapt import BayesConfig
from remedi_spark.maths.ranking import average_precision
from remedi_spark.models.nets.inputs import InputStats
from remedi_spark.models.nets.models import FieldNet
from remedi_spark.models.nets.workers import gather
from remedi_spark.segments.maths.arms import net_margins
from remedi_spark.segments.maths.basis import Basis, fit_basis
from remedi_spark.segments.maths.gaussian_head import (
    Array,
    GaussianPrior,
    Labelled,
    approximate,
    learn_prior,
    posterior_mode,
)
from remedi_spark.segments.maths.inner_loop import Parameters
from remedi_spark.segments.maths.segments import SegmentRows
from remedi_spark.segments.maths.tasks import Rows, Task
from remedi_spark.segments.maths.trees import CrossFitted

Margins = Callable[[Array], Array]
"""Encoded rows (n, width) to one margin a row."""
HeldOutTasks = Mapping[int, Sequence[tuple[str, Task]]]
"""(segment, task) by K."""


def learn_bayes(
    net: FieldNet, start: Parameters, stats: InputStats, learned: Sequence[SegmentRows], held_out: HeldOutTasks,
    config: BayesConfig, beside: CrossFitted | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Return basis, prior and scale by K as ``bayes.json`` keeps them; every worker must call this together.

    Args:
        net: any net (its own parameters are not used).
        start: the pooled net's parameters.
        stats: of the net's inputs.
        learned: this worker's learning segments.
        held_out: this worker's tasks of the validation segments.
        config: dims and scales.
        beside: trees that a second head is learned on, under ``trees``.
    """
    basis = fit_basis(learned, stats, config.dims)

    def margins(x: Array) -> Array:
        return net_margins(net, start, x)

    own = {one.name: margins(one.x) for one in learned}
    found = {"basis": basis.to_dict(), **_head(margins, own, basis, learned, held_out, config.scales)}
    if beside is not None:
        head = _head(beside.trees, beside.own, basis, learned, held_out, config.scales)
        found["trees"] = {"texts": list(beside.trees.texts), **head}
    return found


def _head(
    margins: Margins, own: Mapping[str, Array], basis: Basis, learned: Sequence[SegmentRows], held_out: HeldOutTasks,
    scales: Sequence[float],
) -> dict[str, Any]:  # fmt: skip
    prior = segments_prior(own, basis, learned)
    scale = {
        str(k): _best_scale([task for _, task in tasks], margins, basis, prior, scales) for k, tasks in held_out.items()
    }
    return {"prior": prior.to_dict(), "scale": scale}


def segments_prior(own: Mapping[str, Array], basis: Basis, learned: Iterable[SegmentRows]) -> GaussianPrior:
    """Return the prior of a segment's head, from all workers' learning segments.

    Its slopes have mean 0: the start was fitted to the same rows, stopped on other segments, and a mean correction
    learned from them once more only fits them closer.

    Args:
        own: by segment, the margins that heads are added to, one a row.
        basis: of the heads.
        learned: this worker's learning segments.
    """
    wide = GaussianPrior(np.zeros(1 + basis.dims), np.eye(1 + basis.dims))
    mine = [
        (one.name, approximate(Labelled(basis.design(one.x), one.y, one.weight, own[one.name]), wide))
        for one in learned
        if 0 < one.y.sum() < len(one.y)
    ]
    everyone = sorted((pair for part in gather(mine) for pair in part), key=lambda pair: pair[0])
    slopes = range(1, 1 + basis.dims)
    return learn_prior([likelihood for _, likelihood in everyone], centred=slopes)


def _rows(margins: Margins, basis: Basis, rows: Rows) -> Labelled:
    x = rows.x.numpy()
    return Labelled(basis.design(x), rows.y.double().numpy(), rows.weight.double().numpy(), margins(x))


def _best_scale(
    tasks: Sequence[Task], margins: Margins, basis: Basis, prior: GaussianPrior, scales: Sequence[float]
) -> float:
    """Return the factor with the largest AP, mean over all workers' tasks; the least one without any task."""
    found = np.zeros(len(scales))
    for task in tasks:
        support, query = (_rows(margins, basis, rows) for rows in task)
        for i, scale in enumerate(scales):
            scored = query.offset + query.design @ posterior_mode(support, prior.scaled(scale))
            found[i] += average_precision(query.y, scored, query.weight)
    total = np.sum(gather(found), axis=0)
    return float(scales[int(np.argmax(total))])
