"""Scores into PostgreSQL: staged by the executors in batches, then brought in by one transaction.

Killed at any moment and repeated, it ends in the same state: until the one commit the target is as it was, after it
all rows are there; a repetition finds them and changes nothing. A session lock keeps two exports to a table apart.
"""

from __future__ import annotations

import uuid
from contextlib import suppress
from typing import TYPE_CHECKING

from py4j.protocol import Py4JJavaError

from remedi_spark.errors import InputError
from remedi_spark.exports.connection import DRIVER, Connection, Database, refusals
from remedi_spark.exports.postgres import Target
from remedi_spark.exports.selection import Selection, reasons_as_text
from remedi_spark.progress import say

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

BATCH_ROWS = 5_000
"""Rows of one round trip."""
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
    target = Target.of(table, selection.rows, timed=selection.timed)
    connection = Connection(selection.rows.sparkSession, database)
    staging = f"_staging_{uuid.uuid4().hex[:8]}"
    try:
        with refusals(database.url):
            _lock(connection, target)
            _prepare(connection, target)
            connection.execute(target.create_staging(staging))
            _stage(selection.rows, database, target.name(staging))
            touched = _merge(connection, target, staging, selection.count)
    finally:
        with suppress(Py4JJavaError):
            connection.execute(f"DROP TABLE IF EXISTS {target.name(staging)}")
        connection.close()
    say("export", f"{selection.count} rows in {target.name()}, {touched} of them new, changed or removed")
    return touched


def _lock(connection: Connection, target: Target) -> None:
    """Refuse a second export to the table; the server lets go of the lock when the session ends, however it ends."""
    taken = connection.rows(f"SELECT pg_try_advisory_lock(hashtext('remedi export'), hashtext('{target.name()}'))")
    if not taken[0][0]:
        raise InputError(f"target {target.name()}: another export writes to it; wait until it has ended")


def _prepare(connection: Connection, target: Target) -> None:
    """Check or make the target; remove what killed exports have left."""
    found = connection.rows(target.describe())
    if found:
        target.require(found, [row[0] for row in connection.rows(target.describe_key())])
    missing = [] if found else target.create()
    if connection.rows(target.missing_beside())[0][0]:
        missing += target.create_beside()
    with connection.transaction():  # none where all is there: it would wait for readers' locks
        for statement in missing:
            connection.execute(statement)
    left = connection.rows(
        f"SELECT tablename::text FROM pg_tables WHERE schemaname = '{target.schema}' "
        f"AND tablename ~ '^{target.table}_staging_[0-9a-f]{{8}}$'"
    )
    for (name,) in left:
        connection.execute(f'DROP TABLE IF EXISTS "{target.schema}"."{name}"')


def _stage(rows: DataFrame, database: Database, staging: str) -> None:
    options = {
        **database.properties(), "url": database.url, "dbtable": staging, "driver": DRIVER,
        "batchsize": str(BATCH_ROWS), "numPartitions": str(CONNECTIONS),
        "reWriteBatchedInserts": "true",
    }  # fmt: skip
    reasons_as_text(rows).write.format("jdbc").options(**options).mode("append").save()


def _merge(connection: Connection, target: Target, staging: str, expected: int) -> int:
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
