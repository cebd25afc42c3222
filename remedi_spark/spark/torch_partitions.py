"""Run a function on whole partitions: on one in a plain task, on several at once in barrier mode with
``torch.distributed``.

Spark has no barrier stages under dynamic allocation, and does not try their tasks again; one task needs no barrier.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import pyarrow as pa

from remedi_spark.progress import warn
from remedi_spark.spark.errors import SPARK_ERRORS

if TYPE_CHECKING:
    from pyspark import BarrierTaskContext, TaskContext
    from pyspark.sql import DataFrame, Row

PartitionFunction = Callable[[pa.Table], bytes]
ATTEMPTS = 3
"""How often a stage is run while executors are lost in it."""


@dataclass(frozen=True)
class Ran:
    """What one worker's function returned, and how many rows it was given."""

    result: bytes
    rows: int


def run_together(frame: DataFrame, function: PartitionFunction, workers: int) -> list[bytes]:
    """Run ``function`` on all partitions of ``frame`` as one process group; return each worker's bytes, by rank.

    The function receives its whole partition as an Arrow table, perhaps without rows: it must take part in every
    collective call all the same. It must not hold a session.

    Args:
        frame: of ``workers`` partitions.
        function: what each worker runs.
        workers: 1: a plain task, which Spark tries again by itself; more: a barrier stage.
    """
    return [ran.result for ran in run_counted(frame, function, workers)]


def run_counted(frame: DataFrame, function: PartitionFunction, workers: int) -> list[Ran]:
    """As :func:`run_together`, with the rows that each worker had."""
    empty = _empty(frame)

    def body(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from pyspark import BarrierTaskContext, TaskContext

        context = TaskContext.get() if workers == 1 else BarrierTaskContext.get()
        assert context is not None
        with alone(context) if workers == 1 else process_group(context):  # type: ignore[arg-type]
            parts = list(batches)
            table = pa.Table.from_batches(parts) if parts else empty
            result = function(table)
        yield pa.RecordBatch.from_pydict(
            {"rank": [context.partitionId()], "result": [result], "rows": [table.num_rows]}
        )

    columns = "rank long, result binary, rows long"
    results = frame.mapInArrow(body, columns, barrier=workers > 1)  # type: ignore[arg-type]
    rows = results.collect() if workers == 1 else _surviving_lost_executors(results.collect)
    if len(rows) != workers:
        raise ValueError(f"a fit over {workers} tasks: {len(rows)} of them had a result; has the frame any rows?")
    return [Ran(bytes(row["result"]), row["rows"]) for row in sorted(rows, key=lambda row: row["rank"])]


def _surviving_lost_executors(collect: Callable[[], list[Row]]) -> list[Row]:
    """Run a barrier stage again when an executor was lost, as Spark does with every other kind of stage.

    Spark gives a barrier stage up whose results go to the driver, because some might have arrived; here all or none do.
    """
    for _ in range(ATTEMPTS - 1):
        try:
            return collect()
        except SPARK_ERRORS as error:
            if not lost_executor(error):
                raise
            warn("fit", "an executor was lost in the middle of a fit; once more")
    return collect()


def lost_executor(error: BaseException) -> bool:
    """Tell whether work failed because an executor was lost, so that it may well succeed on another one."""
    return "ExecutorLostFailure" in str(error)


def _empty(frame: DataFrame) -> pa.Table:
    from pyspark.sql.pandas.types import to_arrow_schema

    return to_arrow_schema(frame.schema).empty_table()


@contextmanager
def alone(context: TaskContext) -> Iterator[None]:
    """Give torch the task's cores: more threads would fight with the other tasks."""
    import torch

    torch.set_num_threads(max(1, int(context.cpus())))
    yield


@contextmanager
def process_group(context: BarrierTaskContext, timeout: timedelta = timedelta(minutes=30)) -> Iterator[None]:
    """Join this barrier stage's tasks to a gloo process group.

    Rank 0 picks a free port on its own host and tells the others by ``allGather``.
    """
    from torch import distributed as dist

    world, rank = len(context.getTaskInfos()), context.partitionId()
    host = context.getTaskInfos()[0].address.rsplit(":", 1)[0]
    port = _free_port() if rank == 0 else 0
    port = int(context.allGather(str(port))[0])
    dist.init_process_group("gloo", init_method=f"tcp://{host}:{port}", rank=rank, world_size=world, timeout=timeout)
    try:
        with alone(context):
            yield
    finally:
        dist.destroy_process_group()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])
