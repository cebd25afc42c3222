"""LightGBM over several workers without SynapseML: the library's own data-parallel ring inside one barrier stage.

The trees are those of one worker, to the rounding of sums, unless ``min_data_in_leaf`` decides a split: the ring takes
the rows of a leaf from its hessians. By itself LightGBM would differ from worker to worker in the bins of features, in
the rows that stop it early and in the start: here all workers get the same sample and the same validation rows, by the
shuffle that hands out their own, and a start from sums over all. A worker without rows takes no part. By absolute
error (``l1``) a leaf is the mean of the workers' medians, and draws of rows are of each worker's own: nothing to be
done about it. A barrier call takes a second, so that only ports and sums are exchanged by one.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import functions as F

from remedi_spark.columns import ROW_HASH
from remedi_spark.models.contract import VALID, FitError, TrainingSet
from remedi_spark.models.lightgbm.task import TaskFit, lightgbm_metric, lightgbm_parameters
from remedi_spark.models.spark_examples import frame_of
from remedi_spark.models.task_rows import COLUMNS, TaskRows, task_rows
from remedi_spark.spark.partitions import place, uniform
from remedi_spark.spark.whole_partitions import LostMemberError, Member, members, run_tasks

if TYPE_CHECKING:
    import lightgbm
    from pyspark import BarrierTaskContext, TaskContext
    from pyspark.sql import DataFrame

MINE, SHARED = "mine", "shared"
BIN_ROWS = 200_000
"""Rows that bins are found from: LightGBM's own default (``bin_construct_sample_cnt``)."""
WATCHED_NUMBERS = 50_000_000
"""Numbers (rows x inputs) up to which all validation rows are watched; above, a share of them is, chosen by hash."""
TIME_OUT = 30
"""Minutes that a worker waits for another one; torch's group has the same."""
_LOST = ("Socket ", "Binding port")
"""How LightGBM's messages begin when another worker is gone, or its own port is not to be had."""
_PLACES = re.compile(r"^\[(machines|local_listen_port): .*\]\n", re.MULTILINE)
"""What differs between workers and runs in a model's text, among the parameters that it repeats."""
_TINY = 1e-15
"""LightGBM keeps a share this far from 0 and 1 before it takes the log-odds."""
Mask = npt.NDArray[np.bool_]


def fit_in_ring(data: TrainingSet, plan: TaskFit) -> tuple[str, int]:
    """Return the model's text, and how many rows it was fitted on.

    Raises:
        FitError: there was no row to fit on, or the workers have not made the same model.
    """
    share = _share(BIN_ROWS, data.rows)
    if share < 1:
        # It drops features that the rows at hand cannot split: of a sample these are too many.
        plan = replace(plan, parameters={**plan.parameters, "feature_pre_filter": False})
    ran = run_tasks(_spread(data, share), _training_function(plan, data.layout.width), data.workers)
    made = [_Made(**json.loads(one.result)) for one in ran if one.result]
    if len({one.digest for one in made}) != 1:
        raise FitError(f"LightGBM over {data.workers} workers: {len(made)} of them had rows, expected one model of all")
    return next(one.text for one in made if one.text), made[0].rows


def _share(wanted: int, there: int) -> float:
    return min(1.0, wanted / max(1, there))


def _spread(data: TrainingSet, share: float) -> DataFrame:
    """Return each row in the partition of its worker, and copies of those that all workers need in all others."""
    watched = _share(WATCHED_NUMBERS, data.rows * data.layout.width)
    owner = F.pmod(F.col(ROW_HASH), F.lit(data.workers)).cast("int")
    shared = uniform(ROW_HASH, data.seed) < F.when(F.col(VALID), watched).otherwise(share)
    everywhere = F.sequence(F.lit(0), F.lit(data.workers - 1))
    frame = frame_of(data.examples, "LightGBM's ring")
    rows = frame.select(*COLUMNS, ROW_HASH, owner.alias("owner"), shared.alias(SHARED))
    copies = rows.withColumn("at", F.explode(F.when(F.col(SHARED), everywhere).otherwise(F.array("owner"))))
    placed = place(copies.withColumn(MINE, F.col("at") == F.col("owner")), F.col("at"), data.workers)
    return placed.select(*COLUMNS, MINE, SHARED)


def _training_function(plan: TaskFit, width: int) -> Callable[[TaskContext, pa.Table], bytes]:
    """Return what each task runs; it captures plain values only."""

    def work(context: TaskContext, table: pa.Table) -> bytes:
        rows = _RingRows(task_rows(table, width), *(_flags(table, name) for name in (MINE, SHARED)))
        made = _train(plan, rows, context)  # type: ignore[arg-type]
        return b"" if made is None else json.dumps(asdict(made)).encode()

    return work


def _flags(table: pa.Table, name: str) -> Mask:
    return np.asarray(table.column(name).to_numpy(), dtype=bool)


class _RingRows(NamedTuple):
    """Rows that a worker was given, and by row whether it is its own and whether all workers have it."""

    rows: TaskRows
    mine: Mask
    shared: Mask


@dataclass(frozen=True)
class _Grown:
    """What one ring has made; ``booster`` is None at a worker that had no rows for it.

    Attributes:
        booster: the trees.
        rounds: how many of them to keep.
        rows: of all workers, those that were watched included.
        first: whether this worker is the ring's first.
    """

    booster: lightgbm.Booster | None
    rounds: int
    rows: int
    first: bool


@dataclass(frozen=True)
class _Made:
    """A worker's model: its text, which is the same at all workers and comes from the first, and a hash of it."""

    text: str
    digest: str
    rows: int


def _train(plan: TaskFit, given: _RingRows, context: BarrierTaskContext) -> _Made | None:
    valid = given.rows.valid
    grown = _grow(plan, given, context, ~valid, plan.rounds, watched=valid & given.shared)
    if plan.refit:
        grown = _grow(plan, given, context, np.ones_like(valid), grown.rounds)
    if grown.booster is None:
        return None
    text = _PLACES.sub("", grown.booster.model_to_string(num_iteration=grown.rounds))
    digest = hashlib.sha256(text.encode()).hexdigest()
    return _Made(text if grown.first else "", digest, grown.rows)


def _grow(
    plan: TaskFit, given: _RingRows, context: BarrierTaskContext, among: Mask, rounds: int, watched: Mask | None = None
) -> _Grown:
    """Grow trees on rows ``among`` the given ones that are this worker's own; on ``watched`` ones, stop early.

    The number of rounds is the largest that a worker names: one that had no rows in the ring before knows of none.
    """
    import lightgbm

    rows, own = given.rows, given.mine & among

    def part(chosen: Mask, reference: lightgbm.Dataset | None = None) -> lightgbm.Dataset:
        return lightgbm.Dataset(
            rows.x[chosen], rows.target[chosen], weight=rows.weight[chosen], reference=reference, params=plan.parameters
        ).construct()

    # All before the ring is joined: with it, LightGBM would find each feature's bins from the rows of one worker.
    bins = part(given.shared & among)
    learned = part(own, bins) if own.any() else None
    checked = [] if watched is None else [part(watched, bins)]
    weight = rows.weight[own]
    said = {"given": int(given.mine.sum()), "rounds": rounds, "rows": len(weight), "sample": _checksum(given)}
    everyone = members(context, {**said, "weight": weight.sum(), "total": weight @ rows.target[own]})
    ring, me = [one for one in everyone if one.said["rows"]], everyone[context.partitionId()]
    if len({one.said["sample"] for one in everyone}) > 1:
        raise FitError("LightGBM's ring: the workers were given different samples, expected the same rows at all")
    if learned is None:
        return _Grown(None, 0, 0, first=False)
    start = _start(plan, ring)
    for dataset in [] if start is None else [learned, *checked]:
        dataset.set_init_score(np.full(dataset.num_data(), start))
    stop = [lightgbm.early_stopping(plan.patience, verbose=False)] if checked else []
    rounds = int(max(one.said["rounds"] for one in everyone))
    joined = {**lightgbm_parameters(plan), **_network(ring, me)}
    try:
        booster = lightgbm.train(
            joined, learned, rounds, valid_sets=checked, callbacks=stop, feval=lightgbm_metric(plan)
        )  # fmt: skip
    except lightgbm.basic.LightGBMError as error:
        if str(error).startswith(_LOST):
            raise LostMemberError(f"LightGBM's ring of {len(ring)} workers is broken: {error}") from error
        raise
    booster.free_network()  # or the next fit of this process would be taken for a member of the ring
    if plan.focal is None and start is not None:
        _into_first_tree(booster, start)
    best = booster.best_iteration if booster.best_iteration > 0 else booster.current_iteration()
    return _Grown(booster, best, int(sum(one.said["given"] for one in everyone)), first=me is ring[0])


def _checksum(given: _RingRows) -> int:
    """Return a checksum of the rows that all workers have: other bins at one of them would end in a crash."""
    return zlib.crc32(given.rows.valid[given.shared].tobytes(), zlib.crc32(given.rows.x[given.shared].tobytes()))


def _network(ring: Sequence[Member], me: Member) -> dict[str, Any]:
    """Return the parameters that join a worker to the others; none where it is alone."""
    if len(ring) == 1:
        return {}
    return {
        "tree_learner": "data", "num_machines": len(ring), "machines": ",".join(one.address for one in ring),
        "local_listen_port": int(me.address.rsplit(":", 1)[1]), "time_out": TIME_OUT,
    }  # fmt: skip


def _start(plan: TaskFit, ring: Sequence[Member]) -> float | None:
    """Return the margin that boosting starts from, as LightGBM finds it in one process; None: leave it to LightGBM."""
    if plan.focal is not None:
        return plan.focal.start
    mean = sum(one.said["total"] for one in ring) / sum(one.said["weight"] for one in ring)
    objective = plan.parameters["objective"]
    if objective == "binary":
        share = min(max(mean, _TINY), 1 - _TINY)
        return math.log(share / (1 - share))
    if objective in ("tweedie", "gamma"):
        return math.log(mean)
    return mean if objective in ("regression", "huber") else None


def _into_first_tree(booster: lightgbm.Booster, start: float) -> None:
    """Add the start to each leaf of the first tree, where LightGBM itself keeps it."""
    if booster.num_trees():
        leaves = booster.dump_model(num_iteration=1)["tree_info"][0]["num_leaves"]
        for leaf in range(leaves):
            booster.set_leaf_output(0, leaf, booster.get_leaf_output(0, leaf) + start)
