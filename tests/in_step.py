"""Two torch processes in step, as a barrier stage of Spark runs them."""

from __future__ import annotations

import faulthandler
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import distributed as dist
from torch import multiprocessing as mp

WORKERS = 2


def in_step(work: Callable[[int], Any], folder: Path) -> list[Any]:
    """Run ``work(number)`` in two processes of one gloo group; return what each of them found.

    Workers that die of a signal, as torch's threads sometimes make a process do, are all started once more: so does
    Spark with the tasks of a barrier stage. An exception of ``work`` is raised at once.
    """
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    for attempt in range(2):
        group = folder / f"group-{attempt}"
        group.mkdir()
        try:
            mp.spawn(_worker, args=(work, str(group)), nprocs=WORKERS)  # type: ignore[attr-defined]
        except mp.ProcessExitedException as error:  # type: ignore[attr-defined]
            if attempt or error.signal_name is None:
                raise
            continue
        break
    return [torch.load(group / f"{number}.pt", weights_only=False) for number in range(WORKERS)]


def _worker(number: int, work: Callable[[int], Any], folder: str) -> None:
    faulthandler.enable()
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=number, world_size=WORKERS)
    torch.save(work(number), f"{folder}/{number}.pt")
    dist.barrier()  # none leaves while another still reads from it
    dist.destroy_process_group()
