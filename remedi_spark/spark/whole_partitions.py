"""Run a function on whole partitions: on one in a plain task, on several at once in a barrier stage.

Spark has no barrier stages under dynamic allocation, and does not try their tasks again; one task needs no barrier.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from remedi_spark.progress import warn
from remedi_spark.spark.errors import SPARK_ERRORS
from remedi_spark.spark.ran import Ran

if TYPE_CHECKING:
    from pyspark import BarrierTaskContext, TaskContext
    from pyspark.sql import DataFrame, Row

    TaskFunction = Callable[[TaskContext, pa.Table], bytes]

ATTEMPTS = 3
"""How often a stage is run while executors are lost in it."""
_DISCARD_PORT = 9


class LostMemberError(Exception):
    """A task could not reach another one of its stage, or no longer."""


class Member(NamedTuple):
    """A task of a barrier stage as the others know it: where it can be reached, and what it has said of itself."""

    address: str
    said: dict[str, float]


def run_tasks(frame: DataFrame, function: TaskFunction, workers: int) -> list[Ran]:
    """Run ``function`` on all partitions of ``frame`` at the same time; return what each gave, by rank.

    The function receives its task's context, a ``BarrierTaskContext`` where there are several, and its whole partition
    as an Arrow table, perhaps without rows: it must take part in every ``allGather`` all the same. It must not hold a
    session.

    Args:
        frame: of ``workers`` partitions.
        function: what each worker runs.
        workers: 1: a plain task, which Spark tries again by itself; more: a barrier stage.
    """
    empty = _empty(frame)

    def body(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from pyspark import BarrierTaskContext, TaskContext

        context = TaskContext.get() if workers == 1 else BarrierTaskContext.get()
        assert context is not None
        parts = list(batches)
        table = pa.Table.from_batches(parts) if parts else empty
        result = function(context, table)
        yield pa.RecordBatch.from_pydict(
            {"rank": [context.partitionId()], "result": [result], "rows": [table.num_rows]}
        )

    columns = "rank long, result binary, rows long"

    def collect() -> list[Row]:
        # A frame of its own each time: from Spark 4 on, one whose query has failed fails the same way at once.
        return frame.mapInArrow(body, columns, barrier=workers > 1).collect()  # type: ignore[arg-type]

    rows = collect() if workers == 1 else _surviving_lost_executors(collect)
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
    """Tell whether work failed because an executor was lost, so that it may well succeed on another one.

    The tasks that had to do with it may fail first, and Spark then names their error alone.
    """
    return any(name in str(error) for name in ("ExecutorLostFailure", LostMemberError.__name__))


def _empty(frame: DataFrame) -> pa.Table:
    from pyspark.sql.pandas.types import to_arrow_schema

    return to_arrow_schema(frame.schema).empty_table()


def members(context: BarrierTaskContext, said: Mapping[str, float]) -> list[Member]:
    """Return all tasks of this one's stage by rank, each with a free port of its own; every task must call it."""
    with reserved_port() as port:
        message = json.dumps([f"{_own_ip(context)}:{port}", dict(said)])
        return [Member(*json.loads(one)) for one in context.allGather(message)]


@contextmanager
def reserved_port() -> Iterator[int]:
    """Hold a free port, so that nobody else takes it before the block ends."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        yield int(probe.getsockname()[1])


def _own_ip(context: BarrierTaskContext) -> str:
    """Return the address by which the other hosts of the stage reach this one.

    Not that of its name, which on many a host is a loopback address in /etc/hosts: that of the interface which leads
    to another host. No packet is sent.
    """
    hosts = [info.address.rsplit(":", 1)[0] for info in context.getTaskInfos()]
    others = [host for host in hosts if host != hosts[context.partitionId()]]
    if not others:
        return "127.0.0.1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((others[0], _DISCARD_PORT))
        return str(probe.getsockname()[0])
