"""How many rows fits take, and over how many tasks, so that none outgrows the memory of a task."""

from __future__ import annotations

from typing import Any

import pytest

from remedi_spark.config import Config, load_config
from remedi_spark.config.spark import BYTES_A_NUMBER, SparkConfig
from remedi_spark.ensemble.fit_size import learned_rows, other_rows, workers_of
from remedi_spark.errors import InputError

NUMBERS = 2**30 // BYTES_A_NUMBER


def _config(memory: str = "1g", **settings: Any) -> Config:
    config = load_config(None)
    return config.model_copy(update={
        "spark": SparkConfig(task_memory=memory), "base_models": config.base_models.model_copy(update=settings),
    })  # fmt: skip


@pytest.mark.parametrize(
    ("memory", "width", "most", "rows"),
    [
        ("1g", 10, 100_000, 100_000),  # narrow: the setting alone
        ("1g", 4_000, 100_000, NUMBERS // 8_000),
        ("2g", 4_000, 100_000, NUMBERS // 4_000),
        ("1m", 4_000, 100_000, 1_000),  # some rows in any case
        ("1g", 4_000, 500, 500),
        ("1g", 4_000, None, None),
    ],
)
def test_rows_follow_from_the_memory_of_a_task(memory: str, width: int, most: int | None, rows: int | None) -> None:
    assert learned_rows(_config(memory, max_rows=most), width) == rows


def test_the_student_holds_no_more_than_a_task() -> None:
    config = _config(max_rows=100_000)
    for width in (10, 500, 4_000):
        learned = learned_rows(config, width)
        assert learned is not None
        assert (learned + other_rows(config, width, learned)) * width <= NUMBERS
    assert other_rows(config, 10, NUMBERS) == 0
    assert other_rows(_config(workers=3), 1_000, 0) == 3 * NUMBERS // 1_000


def test_more_tasks_where_one_does_not_hold_the_rows() -> None:
    config = _config(max_rows=None)
    assert workers_of(config, NUMBERS // 10 - 1, 10, 8) == 1
    assert workers_of(config, 3 * NUMBERS // 10, 10, 8) == 3
    assert workers_of(_config(max_rows=None, workers=2), 100 * NUMBERS, 10, 8) == 2


def test_what_all_tasks_do_not_hold_is_refused_with_what_would_fit() -> None:
    config = _config(max_rows=None)
    with pytest.raises(
        InputError, match=r"base_models\.max_rows: found .* rows .* expected at most .* raise spark"
    ) as no:
        workers_of(config, 9 * NUMBERS // 10, 10, 2)
    most = int(str(no.value).split("base_models.max_rows=")[1].split(",")[0])
    assert workers_of(config, most, 10, 2) == 2
