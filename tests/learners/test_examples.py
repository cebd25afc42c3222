"""Rows in a table of this process are treated as rows of a frame are."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

from remedi_spark.models.contract import Examples
from remedi_spark.models.spark_examples import SparkExamples
from remedi_spark.models.table_examples import TableExamples

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

COLUMNS = ("row_hash", "target", "weight")
ROWS, POSITIVES, LIMIT = 4_000, 40, 400


def _table() -> pa.Table:
    rng = np.random.default_rng(0)
    target = np.where(np.arange(ROWS) < POSITIVES, rng.gamma(2.0, 3.0, ROWS), 0.0)
    return pa.table({
        "row_hash": rng.permutation(ROWS), "target": target, "amount": 10 * target,
        "weight": rng.choice([0.5, 1.0, 2.0], ROWS),
    })  # fmt: skip


def _seen(examples: Examples) -> list[list[float]]:
    """Return what a fit would be given, in its order."""

    def work(table: pa.Table) -> bytes:
        return np.column_stack([table[name].to_numpy() for name in COLUMNS]).astype(float).tobytes()

    (only,) = examples.run(work, COLUMNS, 1)
    return np.frombuffer(only.result).reshape(-1, len(COLUMNS)).tolist()


@pytest.mark.parametrize("change", [
    lambda rows: rows, lambda rows: rows.with_target("amount"), lambda rows: rows.above_zero(),
    lambda rows: rows.whether_above_zero(), lambda rows: rows.with_target("amount").above_zero(),
    lambda rows: rows.at_most(ROWS, rows=ROWS, positives=POSITIVES),
], ids=["as they are", "other target", "above zero", "whether", "other target above zero", "few enough"])  # fmt: skip
def test_a_fit_sees_the_same_rows_in_the_same_order(spark: SparkSession, change: Callable[[Any], Examples]) -> None:
    frame = spark.createDataFrame(_table().to_pandas()).repartition(5)
    here, there = _seen(change(TableExamples(_table()))), _seen(change(SparkExamples(frame)))
    assert here == there


def test_of_too_many_rows_all_positives_and_a_share_of_the_others_stand_for_all() -> None:
    rows = np.array(_seen(TableExamples(_table()).at_most(LIMIT, rows=ROWS, positives=POSITIVES)))
    positive = rows[:, 1] > 0
    assert positive.sum() == POSITIVES
    whole = _table().to_pandas()
    assert rows[positive, 2].sum() == pytest.approx(whole.weight[whole.target > 0].sum()), "they stand for themselves"
    others = LIMIT - POSITIVES
    assert (~positive).sum() == pytest.approx(others, abs=5 * others**0.5)
    assert rows[:, 2].sum() == pytest.approx(whole.weight.sum(), rel=7 / others**0.5)


def test_several_workers_need_spark() -> None:
    with pytest.raises(ValueError, match="found 2 workers, expected 1"):
        TableExamples(_table()).run(lambda _: b"", COLUMNS, 2)
