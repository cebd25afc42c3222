"""Which differences and ratios of numbers get a place in the row: tried on training rows, out of fold.

A tree asks one number at a time, so that what lies between two of them (a rate, a rise, an age at a date) costs it
many questions. Of the pairs of the numbers that trees gain most from, those columns are taken that trees gain most
from again, but for a table where trees that may ask them err more on folds that they have not seen, beyond chance:
on tables of many kinds they help more often than one such trial can tell.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from remedi_spark.columns import FOLD, LABEL
from remedi_spark.models.contract import TARGET, Array, X
from remedi_spark.models.row_draws import at_most
from remedi_spark.models.spark_examples import SparkExamples
from remedi_spark.samples.arrays import matrix
from remedi_spark.samples.encoder import Encoder
from remedi_spark.samples.encoder_fit import encode
from remedi_spark.samples.layout import Made, Operation

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

ROWS, CELLS, FEWEST = 12_000, 6_000_000, 2_000
"""Of the trial: rows at most, the positives first; numbers at most, on which rows of wide tables depend; but so many
rows."""
POSITIVES = 100
"""Fewer tell nothing apart."""
KEPT = 8
"""Columns at most: each costs every fit, and what few do not tell, many do not tell either."""
_DISTINCT = 10
"""Values that a number has at least: of fewer, trees see all combinations."""
_ERRORS = 1.0
"""Standard errors by which the log-loss may rise."""
_ROUNDS, _STEP, _EARLY = 100, 10, 30
"""Trees at most, trees between two looks at the loss, trees whose gain tells which numbers are strong."""
_TREES = {
    "objective": "binary", "num_leaves": 15, "learning_rate": 0.1, "min_data_in_leaf": 30, "feature_fraction": 0.6,
    "bagging_fraction": 0.8, "bagging_freq": 1, "lambda_l2": 5.0, "num_threads": 1, "verbosity": -1,
    "deterministic": True, "force_col_wise": True,
}  # fmt: skip


@dataclass(frozen=True)
class Tried:
    """What a trial found: what is made of which slots, and the log-losses without and with it, out of fold."""

    made: tuple[Made, ...] = ()
    before: float = 0.0
    after: float = 0.0


def with_combinations(
    rows: DataFrame, encoder: Encoder, most: int, *, count: int, positives: int, seed: int
) -> tuple[Encoder, Tried]:
    """Return the encoder with what is made of two numbers, and what the trial found.

    Args:
        rows: training rows ``(f0 … fn, label 0/1, fold, weight, row_hash)``.
        encoder: fitted on them.
        most: of how many numbers, the strongest, pairs are tried.
        count: how many rows there are.
        positives: how many of them have a label of 1.
        seed: of the trees.
    """
    layout = encoder.layout
    if min(positives, count - positives) < POSITIVES or len(encoder.contract.numbers) < 2:
        return encoder, Tried()
    numbers = layout.where("number")
    kinds = [encoder.contract.features[layout.slots[slot].feature].kind for slot in numbers]
    moments = {slot for slot, kind in zip(numbers, kinds, strict=True) if kind in ("date", "timestamp")}
    drawn = at_most(rows, max(FEWEST, min(ROWS, CELLS // layout.width)), rows=count, positives=positives)
    examples = SparkExamples(encode(drawn, encoder).withColumnRenamed(LABEL, TARGET))
    work = _trial_function(layout.fixed, numbers, moments, most, seed)
    (ran,) = examples.run(work, (X, TARGET, FOLD), 1)
    found = json.loads(ran.result)
    tried = Tried(tuple(Made(*one) for one in found["made"]), found["before"], found["after"])
    return replace(encoder, made=tried.made), tried


def _trial_function(
    width: int, numbers: list[int], moments: set[int], most: int, seed: int
) -> Callable[[pa.Table], bytes]:
    """Return what the task runs; it captures plain values only."""

    def work(table: pa.Table) -> bytes:
        rows = table.combine_chunks()
        x = matrix(rows[X].combine_chunks(), width)
        found = try_combinations(x, rows[TARGET].to_numpy(), rows[FOLD].to_numpy(), numbers, moments, most, seed)
        return json.dumps({"made": found.made, "before": found.before, "after": found.after}).encode()

    return work


def try_combinations(
    x: Array, label: Array, fold: npt.NDArray[Any], numbers: Sequence[int], moments: Collection[int], most: int,
    seed: int,
) -> Tried:  # fmt: skip
    """Try differences and ratios of the strongest numbers.

    Args:
        x: encoded rows without target encodings, shape (n, slots).
        label: 0/1, shape (n,).
        fold: of each row, shape (n,).
        numbers: slots that may be combined.
        moments: those among them that are points in time, which have differences alone.
        most: of how many numbers pairs are tried.
        seed: of the trees.
    """
    before, gain, rounds = _out_of_fold(x, label, fold, seed)
    able = [slot for slot in numbers if len(np.unique(x[:, slot])) > _DISTINCT and gain[slot] > 0]
    pairs = itertools.combinations(sorted(able, key=lambda slot: (-gain[slot], slot))[:most], 2)
    tried = [Made(how, a, b) for a, b in pairs for how in _operations(a, b, moments)]
    made = _strongest(x, label, tried, rounds, seed)
    if not made:
        return Tried()
    after, _, _ = _out_of_fold(_beside(x, made), label, fold, seed)
    return Tried(() if _errs_more(before, after) else made, float(before.mean()), float(after.mean()))


def _errs_more(before: Array, after: Array) -> bool:
    """Tell of losses of the same rows whether the second ones are higher, beyond chance."""
    rise = after - before
    return bool(rise.mean() > _ERRORS * rise.std() / np.sqrt(len(rise)))


def _operations(first: int, second: int, moments: Collection[int]) -> tuple[Operation, ...]:
    """Return what may be made of two numbers: a point in time has a difference to another one alone."""
    timed = (first in moments) + (second in moments)
    return ("difference", "ratio") if not timed else ("difference",) if timed == 2 else ()


def _strongest(x: Array, label: Array, tried: Sequence[Made], rounds: int, seed: int) -> tuple[Made, ...]:
    """Return the columns that trees gain most from, beside the row itself."""
    if not tried:
        return ()
    gain = _trees(_beside(x, tried), label, rounds, seed).feature_importance("gain")[x.shape[1] :]
    order = np.argsort(-gain, kind="stable")[:KEPT]
    return tuple(tried[i] for i in order if gain[i] > 0)


def _beside(x: Array, made: Sequence[Made]) -> Array:
    return np.column_stack([x, *(one.of(x[:, one.first], x[:, one.second]) for one in made)])


def _trees(x: Array, label: Array, rounds: int, seed: int) -> Any:
    import lightgbm

    parameters = {**_TREES, "seed": seed}
    return lightgbm.train(parameters, lightgbm.Dataset(x, label, params=parameters), rounds)


def _out_of_fold(x: Array, label: Array, fold: npt.NDArray[Any], seed: int) -> tuple[Array, Array, int]:
    """Return each row's log-loss by trees of the other folds, shape (n,), what these gained by slot, and their number.

    As many trees as are best for all folds together.
    """
    looks = range(_STEP, _ROUNDS + 1, _STEP)
    loss, gain = np.zeros((len(looks), len(label))), np.zeros(x.shape[1])
    for k in np.unique(fold):
        mine = fold == k
        trees = _trees(x[~mine], label[~mine], _ROUNDS, seed)
        margin = np.zeros(mine.sum())
        for i, rounds in enumerate(looks):
            margin += trees.predict(
                x[mine], raw_score=True, start_iteration=rounds - _STEP, num_iteration=_STEP, num_threads=1
            )
            loss[i, mine] = np.logaddexp(0.0, margin) - label[mine] * margin
        gain += trees.feature_importance("gain", iteration=_EARLY)
    best = int(loss.mean(axis=1).argmin())
    return loss[best], gain, looks[best]
