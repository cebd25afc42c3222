"""Scores or lists into PostgreSQL: copied by the executors into a staging table, then brought in by one transaction.

Killed at any moment and repeated, it ends in the same state: until the one commit the target is as it was, after it
all rows are there; a repetition finds them and changes nothing. A session lock keeps two exports to a table apart.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from remedi_spark.delivery.connection import Database, connect, refusals
from remedi_spark.delivery.postgres import Target
from remedi_spark.delivery.postgres_session import Session, copier, driver
from remedi_spark.delivery.selection import Selection, reasons_as_text
from remedi_spark.delivery.texts import without_zero, zero_counts
from remedi_spark.errors import InputError
from remedi_spark.progress import log, warn

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

CONNECTIONS = 8
"""Tasks that write at once, at most."""


def export_jdbc(selection: Selection, database: Database, table: str) -> int:
    """Bring a selection into a table; return how many of its rows were new, changed or removed there.

    Args:
        selection: what to hand over.
        database: where to.
        table: ``TABLE`` or ``SCHEMA.TABLE``; made if it is missing, with ``TABLE_loads`` and the view ``TABLE_latest``.

    Raises:
        InputError: the server is down, refuses, or its table has another schema; the target is then as it was.
    """
    _require_one_run(selection)
    target = Target.of(table, selection.rows, selection.contract, timed=selection.timed)
    connection = connect(database)
    staging = f"_staging_{uuid.uuid4().hex[:8]}"
    try:
        with refusals(database.url):
            _lock(connection, target)
            _prepare(connection, target)
            with _staging(connection, target, staging):
                _stage(_held(selection), database, target.copy(staging))
                touched = _merge(connection, target, staging, selection.count)
    finally:
        connection.close()
    log("export", f"{selection.count} rows in {target.name()}, {touched} of them new, changed or removed")
    return touched


def _require_one_run(selection: Selection) -> None:
    """Refuse two runs of one snapshot and model version: the target's key has room for one of them."""
    seen = Counter((one.snapshot, one.model_version) for one in selection.slices)
    twice = [pair for pair, runs in seen.items() if runs > 1]
    if twice:
        snapshot, version = twice[0]
        raise InputError(
            f"snapshot {snapshot} was scored by {seen[twice[0]]} runs of model {version} in this table, expected one; "
            "hand the last one over with --snapshot latest"
        )


def _held(selection: Selection) -> DataFrame:
    """Return the rows as PostgreSQL can hold them; U+0000, which it cannot, becomes U+FFFD, and that is said."""
    found = zero_counts(selection.rows)
    if not found:
        return selection.rows
    named = ", ".join(f"{name} ({count} rows)" for name, count in found.items())
    warn("export", f"U+0000, which PostgreSQL cannot hold, was written as U+FFFD in {named}")
    return without_zero(selection.rows, found)


@contextmanager
def _staging(connection: Session, target: Target, suffix: str) -> Iterator[None]:
    """Make the staging table; remove it in the end, if it was this run that made it."""
    with connection.transaction():
        for statement in target.create_staging(suffix):
            connection.execute(statement)
    try:
        yield
    finally:
        with suppress(driver().Error):
            connection.execute(f"DROP TABLE IF EXISTS {target.name(suffix)}")


def _lock(connection: Session, target: Target) -> None:
    """Refuse a second export to the table; the server lets go of the lock when the session ends, however it ends."""
    taken = connection.rows(f"SELECT pg_try_advisory_lock(hashtext('remedi export'), hashtext('{target.name()}'))")
    if not taken[0][0]:
        raise InputError(f"target {target.name()}: another export writes to it; wait until it has ended")


def _prepare(connection: Session, target: Target) -> None:
    """Check or make the target; remove what killed exports have left."""
    found = connection.rows(target.describe())
    if found:
        target.require(found, [row[0] for row in connection.rows(target.describe_key())])
    target.require_beside(connection.rows(target.describe_loads()))
    missing = [] if found else target.create()
    if connection.rows(target.missing_beside())[0][0]:
        missing += target.create_beside()
    missing += _renewed(connection, target)
    with connection.transaction():  # none where all is there: it would wait for readers' locks
        for statement in missing:
            connection.execute(statement)
    for (name,) in connection.rows(target.left_staging()):
        connection.execute(f'DROP TABLE IF EXISTS "{target.schema}"."{name}"')


def _renewed(connection: Session, target: Target) -> list[str]:
    """Return the statements that a table of loads of an earlier version needs."""
    if not connection.rows(target.describe_loads()):
        return []
    key = connection.rows(target.loads_constraint())
    if [column for _, column in key] == list(target.loads_key):
        return []
    return target.renew_loads(key[0][0] if key else "")


def _stage(rows: DataFrame, database: Database, copy: str) -> None:
    """Copy the rows into the staging table; a task that Spark repeats may leave its rows there twice."""
    copy_rows = copier(database.parameters(), copy)
    copied = reasons_as_text(rows).coalesce(CONNECTIONS).mapInArrow(copy_rows, "rows bigint")  # type: ignore[arg-type]
    copied.collect()


def _merge(connection: Session, target: Target, staging: str, expected: int) -> int:
    """Bring the staged rows in by one transaction; return how many rows of the target it touched."""
    with connection.transaction():
        touched = connection.execute(target.upsert(staging)) + connection.execute(target.delete_stale(staging))
        count = int(connection.rows(target.count(staging))[0][0])
        if count != expected:
            raise RuntimeError(
                f"{target.name()}: {count} rows after the load, expected {expected}; nothing was changed"
            )
        connection.execute(target.record(staging))
    return touched
