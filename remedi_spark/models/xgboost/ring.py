"""XGBoost over several workers by its own collectives in a barrier stage.

For sessions without a JVM: ``xgboost.spark`` reaches for the SparkContext in all versions that run on Python 3.11.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from pyspark import BarrierTaskContext

Work = Callable[[pa.Table], bytes]
TIMEOUT_SECONDS = 1800
"""How long the workers wait for one another."""


def joined(work: Work) -> Work:
    """Return what each task of a barrier stage runs, so that the fits inside ``work`` are one over all of their rows.

    A task without rows takes part: the others wait for it at every histogram.
    """

    def together(table: pa.Table) -> bytes:
        from pyspark import BarrierTaskContext

        with _communicator(BarrierTaskContext.get()):
            return work(table)

    return together


@contextmanager
def _communicator(context: BarrierTaskContext) -> Iterator[None]:
    """Join the workers; the first of them runs the tracker that they find one another by."""
    from xgboost.collective import CommunicatorContext

    infos, first = context.getTaskInfos(), context.partitionId() == 0
    tracker = _tracker(infos[0].address.rsplit(":", 1)[0], len(infos)) if first else None
    arguments = json.loads(context.allGather(json.dumps(tracker.worker_args() if tracker else {}))[0])
    try:
        with CommunicatorContext(**arguments, dmlc_task_id=str(context.partitionId())):
            yield
    finally:
        context.barrier()  # the tracker's task is the last to end
        if tracker is not None:
            tracker.free()


def _tracker(host: str, workers: int) -> Any:
    from xgboost.tracker import RabitTracker

    tracker = RabitTracker(n_workers=workers, host_ip=host, sortby="task", timeout=TIMEOUT_SECONDS)
    tracker.start()
    return tracker
