"""Progress for somebody who watches: what is done stays as a line, what is under way is one line that changes."""

from __future__ import annotations

import logging
from typing import Any

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

WIDTH_OF_STAGE = 13


class Terminal(logging.Handler):
    """Shows records of the product's logger on a terminal.

    A record with ``passing`` (one fit of many) changes the line of its stage; any other is printed above and stays.
    """

    def __init__(self, console: Console | None = None) -> None:
        super().__init__()
        self._console = console or Console(stderr=True)
        self._progress = Progress(
            SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn(),
            console=self._console, transient=True, refresh_per_second=4,
        )  # fmt: skip
        self._stages: list[tuple[str, TaskID]] = []

    def begin(self, stage: str) -> None:
        """Show that a stage is under way."""
        self._stages.append((stage, self._progress.add_task(stage)))
        self._progress.start()

    def end(self) -> None:
        """Take the line of the stage that began last away."""
        self._progress.remove_task(self._stages.pop()[1])
        if not self._stages:
            self._progress.stop()

    def emit(self, record: logging.LogRecord) -> None:
        """Print the record, or show it on the line of the present stage."""
        try:
            line = self.format(record)
            if getattr(record, "passing", False) and self._stages:
                stage, task = self._stages[-1]
                self._progress.update(task, description=f"{stage:<{WIDTH_OF_STAGE}}{_counted(record)}", refresh=True)
            else:
                style = "yellow" if record.levelno >= logging.WARNING else ""
                self._console.print(Text(line, style=style), soft_wrap=True)
        except Exception:
            self.handleError(record)


def _counted(record: logging.LogRecord) -> str:
    facts: dict[str, Any] = getattr(record, "facts", {})
    count = f"{facts['done']} of {facts['total']}  " if "total" in facts else ""
    return f"{count}{record.getMessage()}"
