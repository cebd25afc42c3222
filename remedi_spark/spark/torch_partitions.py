"""Run a torch function on all partitions at once: barrier-mode ``mapInPandas`` + ``torch.distributed``."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import pyarrow as pa
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException

from remedi_spark.progress import warn

if TYPE_CHECKING:
    from pyspark import BarrierTaskContext
    from pyspark.sql import DataFrame, Row

PartitionFunction = Callable[[pa.Table], bytes]
ATTEMPTS = 3
"""How often a stage is run while executors are lost in it."""


def run_together(frame: DataFrame, function: PartitionFunction) -> list[bytes]:
    """Run ``function`` on all partitions of ``frame`` as one process group; return each worker's bytes, by rank.

    The function receives its whole partition as an Arrow table, perhaps without rows: it must take part in every
    collective call all the same. It must not hold a session.
    """
    empty = _empty(frame)

    def body(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from pyspark import BarrierTaskContext

        context = BarrierTaskContext.get()
        with process_group(context):
            parts = list(batches)
            result = function(pa.Table.from_batches(parts) if parts else empty)
        yield pa.RecordBatch.from_pydict({"rank": [context.partitionId()], "result": [result]})

    results = frame.mapInArrow(body, "rank long, result binary", barrier=True)  # type: ignore[arg-type]
    rows = _surviving_lost_executors(results.collect)
    return [bytes(row["result"]) for row in sorted(rows, key=lambda row: row["rank"])]


def _surviving_lost_executors(collect: Callable[[], list[Row]]) -> list[Row]:
    """Run a barrier stage again when an executor was lost, as Spark does with every other kind of stage.

    Spark gives a barrier stage up whose results go to the driver, because some might have arrived; here all or none do.
    """
    for _ in range(ATTEMPTS - 1):
        try:
            return collect()
        except (Py4JJavaError, PySparkException) as error:
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
def process_group(context: BarrierTaskContext, timeout: timedelta = timedelta(minutes=30)) -> Iterator[None]:
    """Join this barrier stage's tasks to a gloo process group; alone, there is none to join.

    Rank 0 picks a free port on its own host and tells the others by ``allGather``.
    """
    import torch
    from torch import distributed as dist

    # One Spark task has spark.task.cpus cores: more threads would fight with the other tasks.
    torch.set_num_threads(max(1, int(context.cpus())))
    world = len(context.getTaskInfos())
    if world == 1:
        yield
        return
    rank = context.partitionId()
    host = context.getTaskInfos()[0].address.rsplit(":", 1)[0]
    port = _free_port() if rank == 0 else 0
    port = int(context.allGather(str(port))[0])
    dist.init_process_group("gloo", init_method=f"tcp://{host}:{port}", rank=rank, world_size=world, timeout=timeout)
    try:
        yield
    finally:
        dist.destroy_process_group()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])
