"""Sessions with PostgreSQL by psycopg: statements of the driver, COPY of each task, and what a server refused."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

import pyarrow as pa
from pyarrow import csv

from remedi_spark.errors import InputError

BROKEN = "08006"
"""SQLSTATE of a connection that was not made, or that broke."""
_TASK = "PostgreSQL refused"
"""How the refusal of a task begins: the driver gets it as text, in the midst of a stack trace."""
_OF_TASK = re.compile(_TASK + r" \[(\w{5})\]: (.*)")
_ABSENT = "psycopg is not installed where the tasks run"
_STATES = {
    "password authentication failed": "28P01", "no password supplied": "28P01", "no pg_hba.conf entry": "28000",
    "does not exist": "3D000", "No space left": "53100", "File too large": "53100", "FATAL": "08004",
}  # fmt: skip
"""SQLSTATE by what a message holds: libpq gives none where it was refused a connection."""
Batches = Iterator[pa.RecordBatch]


class Session:
    """One session; every statement is a transaction of its own, save inside :meth:`transaction`.

    Args:
        parameters: libpq's connection parameters.

    Raises:
        InputError: psycopg is not installed.
        psycopg.Error: the server refuses.
    """

    def __init__(self, parameters: Mapping[str, str]) -> None:
        self._connection = driver().connect(**parameters, autocommit=True)

    def execute(self, sql: str) -> int:
        """Run a statement; return the rows that it touched."""
        return int(self._connection.execute(sql).rowcount)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Run a query of few rows and return them."""
        found: list[tuple[Any, ...]] = self._connection.execute(sql).fetchall()
        return found

    def transaction(self) -> AbstractContextManager[Any]:
        """All or nothing."""
        context: AbstractContextManager[Any] = self._connection.transaction()
        return context

    def close(self) -> None:
        """End the session, and with it its locks."""
        self._connection.close()


def driver() -> Any:
    """Return the module psycopg.

    Raises:
        InputError: it is not installed, or finds no libpq.
    """
    try:
        import psycopg
    except ImportError as error:
        raise InputError("--jdbc: psycopg is not installed; pip install 'remedi_spark[postgres]'") from error
    return psycopg


def copier(parameters: Mapping[str, str], copy: str) -> Callable[[Batches], Batches]:
    """Return what copies the rows of a partition to PostgreSQL, all or none, for ``mapInArrow``.

    Args:
        parameters: libpq's connection parameters.
        copy: the statement, ``COPY … FROM STDIN (FORMAT csv)``.

    Returns:
        From batches of rows to one batch with the column ``rows``: how many they were.
    """
    given = dict(parameters)

    def run(batches: Batches) -> Batches:
        try:
            import psycopg
        except ImportError:
            raise RuntimeError(_ABSENT) from None
        try:
            rows = _copy(psycopg, given, copy, batches)
        except psycopg.Error as error:
            raise RuntimeError(f"{_TASK} [{_state(error)}]: {_line(error)}") from None
        yield pa.RecordBatch.from_pydict({"rows": pa.array([rows], pa.int64())})

    return run


def _copy(psycopg: Any, parameters: Mapping[str, str], copy: str, batches: Batches) -> int:
    first = next(batches, None)
    if first is None:  # an empty partition needs no connection
        return 0
    rows = 0
    with psycopg.connect(**parameters) as connection, connection.cursor().copy(copy) as target:
        for batch in itertools.chain([first], batches):
            target.write(as_csv(batch))
            rows += batch.num_rows
    return rows


def as_csv(batch: pa.RecordBatch) -> bytes:
    """Return rows as PostgreSQL's CSV: texts in quotes, so that an empty one is no null; times in UTC."""
    columns = [
        column.cast(pa.timestamp("us", "UTC")) if pa.types.is_timestamp(column.type) and column.type.tz else column
        for column in batch.columns
    ]
    sink = pa.BufferOutputStream()
    rows = pa.RecordBatch.from_arrays(columns, names=batch.schema.names)
    csv.write_csv(rows, sink, csv.WriteOptions(include_header=False, quoting_style="needed"))
    return bytes(sink.getvalue().to_pybytes())


def refusal(error: Exception) -> tuple[str, str] | None:
    """Return SQLSTATE and message where PostgreSQL is behind an error of psycopg, or of Spark; else None.

    Raises:
        InputError: a task found no psycopg.
    """
    if isinstance(error, driver().Error):
        return _state(error), _line(error)
    if _ABSENT in str(error):
        raise InputError(f"--jdbc: {_ABSENT}; install 'remedi_spark[postgres]' on the workers") from error
    found = _OF_TASK.search(str(error))
    return (found.group(1), found.group(2)) if found else None


def _state(error: Any) -> str:
    """Return the SQLSTATE; full disks have one of their own only where the system says so in its own words."""
    known = (state for words, state in _STATES.items() if words in str(error))
    if error.sqlstate in (None, "XX000"):
        return next(known, error.sqlstate or BROKEN)
    return str(error.sqlstate)


def _line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
