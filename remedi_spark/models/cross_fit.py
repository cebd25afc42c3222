"""The one loop that fits models fold by fold, as many fits side by side as there are slots."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from remedi_spark.columns import FOLD, LABEL, ROW_HASH, WEIGHT
from remedi_spark.config.chain import ModelConfig
from remedi_spark.errors import InputError, cause, doing
from remedi_spark.models.contract import AMOUNT, LABELS, ROW_WEIGHT, TARGET, VALID, Amounts, FitError, TrainingSet, X
from remedi_spark.models.registry import family_of, learner_for
from remedi_spark.models.spark_examples import SparkExamples
from remedi_spark.progress import warn
from remedi_spark.redaction import redact
from remedi_spark.samples.folds import inner_validation
from remedi_spark.samples.layout import Layout
from remedi_spark.spark.partitions import slots
from remedi_spark.spark.watchdog import time_limit
from remedi_spark.spark.whole_partitions import lost_executor
from remedi_spark.storage.fitted import Fitted

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


LATE = "left out, because base_models.time_limit was used up; give it more time, or run again to go on"
"""Why a model has no fits that a deadline has stopped."""
_SPARED = 2
"""Models that a deadline does not stop: an ensemble needs two."""


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
    at_hand: bool = False
    """See :class:`~remedi_spark.models.spark_examples.SparkExamples`."""
    deadline: float | None = None
    """Of the clock :func:`time.monotonic`: no fit goes on after it but those of the two first models; None: none."""

    def left(self, rows: int, fold: int) -> int:
        """Return about how many of so many rows are left without a fold; ``folds``: without none."""
        return rows - rows // self.folds if fold < self.folds else rows


def fit_fold(rows: DataFrame, model: ModelConfig, plan: FoldFits, fold: int) -> Fitted:
    """Fit one model on the rows of all folds but one, or of all.

    Args:
        rows: ``x``, ``te``, ``fold``, ``block``, ``weight``, ``row_hash`` and the target.
        model: what to fit.
        plan: how.
        fold: the fold left out; ``plan.folds``: none.
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
    examples = SparkExamples(rows.where(F.col(FOLD) != fold).select(*columns), plan.at_hand)
    data = TrainingSet(
        examples, plan.layout, plan.loss, plan.prior, plan.left(plan.rows, fold), plan.workers, plan.seed + fold,
        plan.amounts, plan.left(plan.positives, fold),
    )  # fmt: skip
    what = f"{model.kind} without fold {fold}" if fold < plan.folds else f"{model.kind} on all folds"

    def fit(on: TrainingSet) -> Fitted:
        with time_limit(rows.sparkSession, plan.seconds, what):
            return learner_for(model, label_weight=plan.label_weight).fit(on)

    try:
        return fit(data)
    except Exception as error:
        if family_of(model).retries_alone and plan.workers > 1:
            # A ring of sockets does not survive the loss of a member; one task needs no ring.
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


@dataclass(frozen=True)
class Fits:
    """What a loop of fits has made: models by name and fold left out, and by name why a model has none."""

    fitted: dict[tuple[str, int], Fitted]
    failed: dict[str, str]

    def whole(self) -> Fits:
        """Return the fits if none has failed.

        Raises:
            FitError: names what failed, and why.
        """
        if self.failed:
            raise FitError(f"these models could not be fitted: {self.failed}")
        return self

    def by_name(self, folds: int) -> dict[str, Sequence[Fitted]]:
        """Return the models of each name, one a fold."""
        names = dict.fromkeys(name for name, _ in self.fitted)
        return {name: [self.fitted[name, fold] for fold in range(folds)] for name in names}


def cross_fit(
    rows: DataFrame | Mapping[str, DataFrame], models: Mapping[str, ModelConfig], plan: FoldFits,
    keep: Callable[[str, int, Fitted, float], None], *, todo: Sequence[tuple[str, int]] | None = None,
    parallel: int | None = None,
) -> Fits:  # fmt: skip
    """Fit models for folds left out, side by side; a fit that fails loses no other.

    Args:
        rows: what they are fitted on, or by name.
        models: what to fit.
        plan: how.
        keep: is told each fit as it ends: name, fold, the model, seconds.
        todo: the pairs of name and fold to fit, in order; None: all.
        parallel: how many at once; None: as many as there are slots for.

    Raises:
        InputError: a fit says that the input is wrong; the others under way end first.
    """
    units = [(name, fold) for name in models for fold in range(plan.folds)] if todo is None else list(todo)
    frames = rows if isinstance(rows, Mapping) else dict.fromkeys(models, rows)
    spared = list(models)[:_SPARED]

    def fit(unit: tuple[str, int]) -> Fitted | str:
        name, fold = unit
        started = time.monotonic()
        end = math.inf if plan.deadline is None or name in spared else plan.deadline
        if started >= end:
            return LATE
        limits = [one for one in (plan.seconds, end - started) if one is not None and math.isfinite(one)]
        try:
            with doing(fit=f"{name} fold {fold}"):
                fitted = fit_fold(frames[name], models[name], replace(plan, seconds=min(limits, default=None)), fold)
            keep(name, fold, fitted, time.monotonic() - started)
        except InputError:
            raise
        except Exception as error:  # whatever ends one native fit
            return LATE if time.monotonic() >= end else redact(f"fold {fold}: {cause(error)}")
        return fitted

    if not units:
        return Fits({}, {})
    spark = frames[units[0][0]].sparkSession
    with ThreadPoolExecutor(parallel or max(1, slots(spark) // plan.workers)) as pool:
        found = dict(zip(units, pool.map(fit, units), strict=True))
    failed = {name: made for (name, _), made in found.items() if isinstance(made, str)}
    return Fits({unit: made for unit, made in found.items() if isinstance(made, Fitted)}, failed)


def mean_margin(models: Sequence[str]) -> Any:
    """Return the mean of the models' margin columns."""
    return sum((F.col(name) for name in models), F.lit(0.0)) / len(models)
