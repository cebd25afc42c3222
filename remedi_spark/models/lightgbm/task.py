"""LightGBM's own library inside one Spark task: the trees that SynapseML grows in one task, without its jobs.

SynapseML's fit of one worker runs four jobs and hands rows and trees between the JVM and the native library. On a
small table that is nearly all of the time, and the model is the same (``tests/learners/test_lightgbm_parity.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from remedi_spark.models.contract import TrainingSet
from remedi_spark.models.task_rows import COLUMNS, task_rows

if TYPE_CHECKING:
    import lightgbm


@dataclass(frozen=True)
class Focal:
    """The focal loss: weight of a positive, focusing exponent, and the margin that boosting starts from."""

    alpha: float
    gamma: float
    start: float


@dataclass(frozen=True)
class TaskFit:
    """What the task is told.

    Attributes:
        parameters: LightGBM's, without the objective of a focal fit.
        rounds: trees at most.
        patience: rounds without a better inner-validation loss before training stops.
        refit: fit again on all rows for as many rounds as were best.
        focal: set for the focal loss.
        expectile: level of the expectile loss, if it is that.
    """

    parameters: dict[str, Any]
    rounds: int
    patience: int
    refit: bool
    focal: Focal | None = None
    expectile: float | None = None

    @property
    def start(self) -> float:
        """The margin that boosting starts from and that the trees do not contain."""
        return self.focal.start if self.focal else 0.0


def fit_in_one_task(data: TrainingSet, plan: TaskFit) -> tuple[str, int]:
    """Return the model's text, and how many rows it was fitted on."""
    (ran,) = data.examples.run(_training_function(plan, data.layout.width), COLUMNS, 1)
    return ran.result.decode(), ran.rows


def _training_function(plan: TaskFit, width: int) -> Callable[[pa.Table], bytes]:
    """Return what the task runs; it captures plain values only."""

    def work(table: pa.Table) -> bytes:
        return _train(plan, *task_rows(table, width)).encode()

    return work


def _train(plan: TaskFit, x: Any, target: Any, weight: Any, valid: Any) -> str:
    import lightgbm

    parameters, start = lightgbm_parameters(plan), plan.focal.start if plan.focal else None

    def part(chosen: Any, reference: lightgbm.Dataset | None = None) -> lightgbm.Dataset:
        scores = None if start is None else np.full(int(chosen.sum()), start)
        return lightgbm.Dataset(
            x[chosen], target[chosen], weight=weight[chosen], init_score=scores, reference=reference, params=parameters
        )

    train = part(~valid)
    stop = lightgbm.early_stopping(plan.patience, verbose=False)
    booster = lightgbm.train(
        parameters, train, plan.rounds, valid_sets=[part(valid, train)], callbacks=[stop],
        feval=lightgbm_metric(plan),
    )  # fmt: skip
    best = booster.best_iteration or booster.current_iteration()
    if plan.refit:
        booster, best = lightgbm.train(parameters, part(np.ones(len(target), dtype=bool)), best), -1
    return str(booster.model_to_string(num_iteration=best))


def lightgbm_parameters(plan: TaskFit) -> dict[str, Any]:
    """Return LightGBM's parameters, with the objective where it is none of its own."""
    if plan.expectile is not None:
        from remedi_spark.maths import expectile

        return {**plan.parameters, "objective": expectile.lightgbm_objective(plan.expectile)}
    if plan.focal is None:
        return dict(plan.parameters)
    from remedi_spark.maths.focal import lightgbm_objective

    return {**plan.parameters, "objective": lightgbm_objective(plan.focal.alpha, plan.focal.gamma)}


def lightgbm_metric(plan: TaskFit) -> Any:
    """Return what early stopping looks at where it is no metric of LightGBM's own, else None."""
    if plan.expectile is None:
        return None
    from remedi_spark.maths import expectile

    return expectile.lightgbm_metric(plan.expectile)
