"""Rank, percentile and decile of what readers get, also of small batches."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest

from remedi_spark.scoring.batch import REASONS, published

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.mark.parametrize(
    ("rows", "deciles"),
    [
        (1, [1]), (2, [1, 6]), (5, [1, 3, 5, 7, 9]), (10, list(range(1, 11))), (11, [1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        (30, [1 + i // 3 for i in range(30)]),
    ],
)  # fmt: skip
def test_the_best_is_in_the_first_tenth_of_any_batch(spark: SparkSession, rows: int, deciles: list[int]) -> None:
    ranked = spark.createDataFrame(
        [(i, None, 0.5, i + 1, rows, True, None) for i in range(rows)],
        f"owner_id long, snapshot_date date, score double, rank long, rows long, in_top_k boolean, reasons {REASONS}",
    )
    found = published(ranked, "v", dt.datetime(2026, 1, 1), "run").toPandas().sort_values("rank")
    assert found["decile"].tolist() == deciles
    assert found["percentile"].iloc[0] == 100
