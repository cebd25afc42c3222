"""How many rows a fit may take, and over how many tasks it goes, so that each stays within ``spark.task_memory``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from remedi_spark.errors import InputError
from remedi_spark.progress import warn

if TYPE_CHECKING:
    from remedi_spark.config import Config

_FEWEST = 1_000
"""Rows that are learned from however wide they are."""


def learned_rows(config: Config, width: int) -> int | None:
    """Return the most rows that base models learn from; None: all.

    Half of what a task may hold: the student learns from them and from as many others.

    Args:
        config: of the run.
        width: inputs of a row.
    """
    wanted = config.base_models.max_rows
    if wanted is None:
        return None
    held = max(_FEWEST, config.spark.task_numbers // (2 * width))
    if held < wanted:
        warn(
            "base-models",
            f"at most {held:,} rows are learned from, not {wanted:,} (base_models.max_rows): with {width:,} inputs a"
            f" task of spark.task_memory ({config.spark.task_memory}) holds no more; raise it if the machines allow",
        )
    return min(wanted, held)


def other_rows(config: Config, width: int, learned: int) -> int:
    """Return how many rows beside ``learned`` ones a fit of the student may take.

    It goes over as many tasks as are set (``base_models.workers``), one else, and no further: of a teacher's scores
    there are always enough, so that rows follow from tasks, never tasks from rows.
    """
    return max(0, (config.base_models.workers or 1) * config.spark.task_numbers // width - learned)


def workers_of(config: Config, rows: int, width: int, available: int) -> int:
    """Return over how many tasks a fit goes: those that are set, else one, more only where its rows need them.

    Args:
        config: of the run.
        rows: of the fit.
        width: inputs of a row.
        available: tasks that can run at once.

    Raises:
        InputError: all tasks that can run at once do not hold the rows.
    """
    if config.base_models.workers is not None:
        return config.base_models.workers
    needed = max(1, math.ceil(rows * width / config.spark.task_numbers))
    if needed > available:
        most = available * config.spark.task_numbers // width
        raise InputError(
            f"base_models.max_rows: found {rows:,} rows to learn from with {width:,} inputs, expected at most {most:,}:"
            f" spark.task_memory ({config.spark.task_memory}) in each of {available} tasks holds no more;"
            f" set base_models.max_rows={most}, or raise spark.task_memory"
        )
    return needed
