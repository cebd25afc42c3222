"""On a terminal, passing events share one line; what is done, and what is wrong, stays."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from rich.console import Console

from remedi_spark import progress
from remedi_spark.terminal import Terminal


@pytest.fixture
def watched() -> Iterator[Console]:
    kept = list(progress.LOGGER.handlers)
    console = Console(record=True, width=100, force_terminal=True)
    terminal = Terminal(console)
    terminal.setFormatter(logging.Formatter("%(stage)s: %(message)s"))
    progress.LOGGER.handlers[:] = [terminal]
    progress.LOGGER.setLevel(logging.INFO)
    yield console
    progress.LOGGER.handlers[:] = kept


def test_steps_pass_and_the_rest_stays(watched: Console, capsys: pytest.CaptureFixture[str]) -> None:
    durations: dict[str, float] = {}
    with progress.timed("base-models", durations):
        progress.log("samples", "10 rows of [id]")
        for fit in range(1, 4):
            progress.step("base-models", f"fold {fit}/3", done=fit, total=3)
        progress.warn("base-models", "xgboost left out")
    shown = capsys.readouterr().out
    assert "3 of 3  fold 3/3" in shown
    lasting = watched.export_text()
    assert "samples: 10 rows of [id]\n" in lasting, "brackets are no markup"
    assert "xgboost left out" in lasting
    assert "base-models: done in" in lasting
    assert "started" not in lasting
    assert set(durations) == {"base-models"}


def test_a_stage_that_fails_takes_its_line_away(watched: Console) -> None:
    with pytest.raises(ValueError, match="no"), progress.timed("outer", {}), progress.timed("inner", {}):
        raise ValueError("no")
    progress.step("inner", "printed, as no stage is under way")
    assert "printed, as no stage is under way" in watched.export_text()


def test_a_file_gets_lines(capsys: pytest.CaptureFixture[str]) -> None:
    kept = list(progress.LOGGER.handlers)
    progress.log_to_stderr(style="text")
    try:
        with progress.timed("fuser", {}):
            progress.step("fuser", "fold 1/3", done=1, total=3)
    finally:
        progress.LOGGER.handlers[:] = kept
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("] ")[1].split()[-2:] for line in lines[:2]] == [["fuser", "started"], ["fold", "1/3"]]
    assert "\x1b" not in "".join(lines)
