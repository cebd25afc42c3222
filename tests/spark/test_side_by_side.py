"""Jobs that run at the same time: results by item or name, and errors that wait for the others."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from remedi_spark.spark.side_by_side import side_by_side, together


def test_jobs_run_at_the_same_time_and_results_keep_their_names() -> None:
    meeting = threading.Barrier(3, timeout=30)  # broken unless all three are there at once

    def part(value: int) -> Callable[[], int]:
        return lambda: meeting.wait() * 0 + value

    assert list(together({"b": part(2), "a": part(1), "c": part(3)}).items()) == [("b", 2), ("a", 1), ("c", 3)]
    assert together({}) == {}


def test_an_error_is_raised_when_those_under_way_have_ended() -> None:
    ended: list[int] = []
    both_began, failed = threading.Barrier(2, timeout=30), threading.Event()

    def work(item: int) -> None:
        both_began.wait()
        if item == 0:
            failed.set()
            raise ValueError("no")
        assert failed.wait(30)
        ended.append(item)

    with pytest.raises(ValueError, match="no"):
        side_by_side(work, [0, 1])
    assert ended == [1]
