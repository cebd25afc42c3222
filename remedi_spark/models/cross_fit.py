"""Fit several models fold by fold, as many fits side by side as there are slots."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from remedi_spark.columns import FOLD, LABEL, ROW_HASH, WEIGHT
from remedi_spark.config.chain import ModelConfig
from remedi_spark.errors import cause, doing
from remedi_spark.models.contract import AMOUNT, ROW_WEIGHT, TARGET, VALID, Amounts, TrainingSet, X
from remedi_spark.models.net import LABELS
from remedi_spark.models.registry import learner_for
from remedi_spark.progress import warn
from remedi_spark.samples.folds import inner_validation
from remedi_spark.samples.layout import Layout
from remedi_spark.spark.partitions import slots
from remedi_spark.spark.torch_partitions import lost_executor
from remedi_spark.spark.watchdog import time_limit
from remedi_spark.storage.fitted import Fitted

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


@dataclass(frozen=True)
class FoldFits:
    """What all fits of a stage have in common.

    Attributes:
        layout: of the encoded rows.
        folds: number of folds.
        target: column to learn.
        loss: ``logistic`` or ``mse``.
        prior: mean of the target.
        rows: how many rows there are, all folds together.
        validation_share: share of the owners that decides when to stop.
        workers: Spark tasks that train one model together.
        seed: of the first fold.
        amounts: set where the target is a standardised amount, whose unit's own is in ``label``.
        label: 0/1 column mixed into a net's loss with ``label_weight``; None: none.
        seconds: how long one fit may take; None: for ever.
    """

    layout: Layout
    folds: int
    target: str
    loss: str
    prior: float
    rows: int
    validation_share: float
    workers: int
    seed: int
    amounts: Amounts | None = None
    label: str | None = None
    label_weight: float = 0.0
    seconds: float | None = None
    positives: int = 0
    """Rows with a label of 1 among them."""

    def left(self, rows: int) -> int:
        """Return about how many of so many rows are in all folds but one."""
        return rows - rows // self.folds


def fit_fold(rows: DataFrame, model: ModelConfig, plan: FoldFits, fold: int) -> Fitted:
    """Fit one model on the rows of all folds but one.

    Args:
        rows: ``x``, ``te``, ``fold``, ``block``, ``weight``, ``row_hash`` and the target.
        model: what to fit.
        plan: how.
        fold: the fold left out.
    """
    columns: list[Any] = [
        _inputs(plan.layout, model, fold).alias(X),
        F.col(plan.target).cast("double").alias(TARGET),
        F.col(WEIGHT).alias(ROW_WEIGHT),
        inner_validation(fold, plan.validation_share).alias(VALID),
        ROW_HASH,
        *([F.col(plan.label).alias(LABELS)] if plan.label else []),
        *([F.col(LABEL).alias(AMOUNT)] if plan.amounts else []),
    ]
    frame = rows.where(F.col(FOLD) != fold).select(*columns)
    data = TrainingSet(
        frame, plan.layout, plan.loss, plan.prior, plan.left(plan.rows), plan.workers, plan.seed + fold, plan.amounts,
        plan.left(plan.positives),
    )  # fmt: skip
    what = f"{model.kind} without fold {fold}"

    def fit(on: TrainingSet) -> Fitted:
        with time_limit(rows.sparkSession, plan.seconds, what):
            return learner_for(model, label_weight=plan.label_weight).fit(on)

    try:
        return fit(data)
    except Exception as error:
        if model.kind == "lightgbm" and plan.workers > 1:
            # LightGBM's ring of sockets does not survive the loss of a member; one task needs no ring.
            warn("fit", f"{what} failed on {plan.workers} workers ({cause(error)}); once more in one task")
            data = replace(data, workers=1)
        elif lost_executor(error):
            warn("fit", f"{what} lost an executor; once more")
        else:
            raise
    return fit(data)


def _inputs(layout: Layout, model: ModelConfig, fold: int) -> Column:
    """Return the encoded row. What the model must not see is 0 in every row, so that no learner can use it."""
    row = F.concat("x", F.col("te")[fold])
    hidden = set(layout.beside_codes() if model.inputs == "codes" else ())
    if not hidden:
        return row
    parts = []  # runs of slots, copied whole: a function called for each number takes as long as a small fit
    for unseen, positions in itertools.groupby(range(layout.width), hidden.__contains__):
        run = list(positions)
        parts.append(F.array_repeat(F.lit(0.0), len(run)) if unseen else F.slice(row, run[0] + 1, len(run)))
    return F.concat(*parts)


def fit_by_fold(
    rows: DataFrame, models: dict[str, ModelConfig], plan: FoldFits, on_fit: Callable[[str, int, Fitted], None]
) -> dict[str, Sequence[Fitted]]:
    """Fit every model for every fold left out, side by side; return them by name. ``on_fit`` sees each as it ends."""
    units = [(name, fold) for name in models for fold in range(plan.folds)]

    def fit(unit: tuple[str, int]) -> Fitted:
        name, fold = unit
        with doing(fit=f"{name} fold {fold}"):
            fitted = fit_fold(rows, models[name], plan, fold)
        on_fit(name, fold, fitted)
        return fitted

    with ThreadPoolExecutor(max(1, slots(rows.sparkSession) // plan.workers)) as pool:
        fitted = list(pool.map(fit, units))
    return {name: fitted[i * plan.folds : (i + 1) * plan.folds] for i, name in enumerate(models)}


def mean_margin(models: Sequence[str]) -> Any:
    """Return the mean of the models' margin columns."""
    return sum((F.col(name) for name in models), F.lit(0.0)) / len(models)
