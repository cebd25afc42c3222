"""Run a function on whole partitions with torch: on several at once as one group of ``torch.distributed``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import pyarrow as pa

from remedi_spark.spark.ran import Ran
from remedi_spark.spark.whole_partitions import reserved_port, run_tasks

if TYPE_CHECKING:
    from pyspark import BarrierTaskContext, TaskContext
    from pyspark.sql import DataFrame

PartitionFunction = Callable[[pa.Table], bytes]


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

    def with_torch(context: TaskContext, table: pa.Table) -> bytes:
        with alone(context) if workers == 1 else process_group(context):  # type: ignore[arg-type]
            return function(table)

    return run_tasks(frame, with_torch, workers)


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
    with reserved_port() as mine:
        port = int(context.allGather(str(mine))[0])
    dist.init_process_group("gloo", init_method=f"tcp://{host}:{port}", rank=rank, world_size=world, timeout=timeout)
    try:
        with alone(context):
            yield
    finally:
        dist.destroy_process_group()
