"""A barrier stage that lost an executor is run again; one that failed for another reason is not."""

from __future__ import annotations

import pytest
from pyspark.errors import PySparkException

from remedi_spark.spark.whole_partitions import ATTEMPTS, _surviving_lost_executors

LOST = "Could not recover from a failed barrier ResultStage. ExecutorLostFailure (executor 1 exited)"


class _Stage:
    """Fails so many times, then gives a row."""

    def __init__(self, failures: int, message: str) -> None:
        self.runs, self._failures, self._message = 0, failures, message

    def __call__(self) -> list[str]:
        self.runs += 1
        if self.runs <= self._failures:
            raise PySparkException(self._message)
        return ["row"]


@pytest.mark.parametrize("failures", range(ATTEMPTS))
def test_a_lost_executor_costs_another_run(failures: int) -> None:
    stage = _Stage(failures, LOST)
    assert _surviving_lost_executors(stage) == ["row"]  # type: ignore[arg-type, comparison-overlap]
    assert stage.runs == failures + 1


@pytest.mark.parametrize(("failures", "message", "runs"), [(ATTEMPTS, LOST, ATTEMPTS), (1, "ValueError: no", 1)])
def test_it_does_not_try_for_ever_nor_hide_an_error(failures: int, message: str, runs: int) -> None:
    stage = _Stage(failures, message)
    with pytest.raises(PySparkException):
        _surviving_lost_executors(stage)  # type: ignore[arg-type]
    assert stage.runs == runs
