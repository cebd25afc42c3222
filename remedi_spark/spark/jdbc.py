"""A JDBC connection of the driver's JVM, and what a database has refused."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from remedi_spark.errors import InputError
from remedi_spark.spark.errors import SPARK_ERRORS
from remedi_spark.spark.jvm import java
from remedi_spark.spark.session import POSTGRESQL

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

DRIVER = "org.postgresql.Driver"


class Connection:
    """One JDBC connection; every statement is a transaction of its own, save inside :meth:`transaction`.

    Args:
        spark: the session.
        url: ``jdbc:postgresql:…``.
        properties: what JDBC calls connection properties.

    Raises:
        InputError: the session has no JVM within reach, or that has no driver for PostgreSQL.
    """

    def __init__(self, spark: SparkSession, url: str, properties: Mapping[str, str]) -> None:
        jvm = java(spark, "--jdbc")
        try:
            driver = jvm.org.postgresql.Driver()
        except TypeError as error:
            raise InputError(f"--jdbc: {DRIVER} is not on the class path; add --packages {POSTGRESQL}") from error
        given = jvm.java.util.Properties()
        for key, value in properties.items():
            given.setProperty(key, value)
        self._connection = driver.connect(url, given)

    def execute(self, sql: str) -> int:
        """Run a statement; return the rows that it touched."""
        statement = self._connection.createStatement()
        try:
            statement.execute(sql)
            return int(statement.getUpdateCount())
        finally:
            statement.close()

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Run a query of few rows and return them."""
        statement = self._connection.createStatement()
        try:
            found = statement.executeQuery(sql)
            width = found.getMetaData().getColumnCount()
            rows = []
            while found.next():
                rows.append(tuple(found.getObject(i + 1) for i in range(width)))
            return rows
        finally:
            statement.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing."""
        self._connection.setAutoCommit(False)
        try:
            yield
            self._connection.commit()
        except BaseException:
            with suppress(*SPARK_ERRORS):  # a connection that is gone has rolled back
                self._connection.rollback()
            raise
        finally:
            with suppress(*SPARK_ERRORS):
                self._connection.setAutoCommit(True)

    def close(self) -> None:
        """End the session, and with it its locks."""
        with suppress(*SPARK_ERRORS):
            self._connection.close()


def sql_error(error: Exception) -> tuple[str, str] | None:
    """Return SQLSTATE ("" where it is not known) and message of the first SQLException behind an error of Spark."""
    raised: Any = getattr(error, "java_exception", None)
    if raised is None:
        return _as_text(str(error))
    while raised is not None:
        if raised.getClass().getName().startswith(("org.postgresql.util.PSQL", "java.sql.")):
            return str(raised.getSQLState() or ""), str(raised.getMessage())
        if found := _as_text(str(raised.getMessage())):
            return found
        raised = raised.getCause()
    return None


def _as_text(text: str) -> tuple[str, str] | None:
    """Return the same of an exception of a task, which reaches the driver as text."""
    found = re.search(r"org\.postgresql\.util\.PSQLException: (.*)", text)
    return (_state_of(found.group(1)), found.group(1)) if found else None


def _state_of(message: str) -> str:
    known = {
        "No space left": "53100", "File too large": "53100", "terminating connection": "57P01",
        "I/O error": "08006", "invalid byte sequence": "22021", "violates": "23000",
        "Connection to": "08001", "refused": "08001", "password": "28P01",
    }  # fmt: skip
    return next((state for words, state in known.items() if words in message), "")
