"""A JDBC connection of the driver process, and what a database's refusal means to the user."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from py4j.protocol import Py4JJavaError

from remedi_spark.errors import InputError
from remedi_spark.spark.session import POSTGRESQL

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

PREFIX = "jdbc:postgresql:"
DRIVER = "org.postgresql.Driver"
USER, PASSWORD = "REMEDI_JDBC_USER", "REMEDI_JDBC_PASSWORD"
"""Environment variables; a password is taken from nowhere else and never shown."""

_MEANING = {
    "28P01": f"user or password refused; set {USER} and {PASSWORD}",
    "28000": f"user or password refused; set {USER} and {PASSWORD}",
    "08004": f"the server refused the connection; set {USER} and {PASSWORD}, and check the server's access rules",
    "3D000": "no such database; check the URL",
    "3F000": "no such schema; create it, or name another with --table",
    "42501": "the user may not do this; grant it, or take another user",
    "53100": "the server's disk is full; make room and run again",
    "53400": "a limit of the server was reached; raise it and run again",
    "58030": "the server cannot write to its disk; mend it and run again",
    "57P01": "the server ended the connection; run again",
    "42809": "something else has this name; move it away, or name another with --table",
    "42P07": "something else has this name; move it away, or name another with --table",
    "42P16": "a view of this name has other columns; drop it, or name another table with --table",
}
_CLASSES = {
    "22": "a value that the server does not take; correct it in the scores",
    "23": "a row breaks a constraint of the target; correct the scores, or the constraint",
    "54": "a limit of the server was reached; raise it and run again",
    "55": "another session holds the target; run again when it has ended",
}
"""By the first two characters of an SQLSTATE."""


@dataclass(frozen=True)
class Database:
    """Where to connect to; the password is not in its text form."""

    url: str
    user: str | None
    password: str | None = field(repr=False)

    @classmethod
    def from_environment(cls, url: str) -> Database:
        """Take user and password from the environment.

        Raises:
            InputError: not a PostgreSQL URL, or one with a password in it.
        """
        if not url.startswith(PREFIX):
            shown = url.split("?", maxsplit=1)[0]
            raise InputError(
                f"--jdbc {shown}: expected {PREFIX}//HOST:PORT/DATABASE; for another database, "
                "export Parquet files with --out and load them there"
            )
        if re.search(r"[?&](ssl)?password=|//[^/@]*:[^/@]*@", unquote(url), re.IGNORECASE):
            raise InputError(f"--jdbc: the URL holds a password, which logs would show; set {PASSWORD} instead")
        return cls(url, os.environ.get(USER), os.environ.get(PASSWORD))

    def properties(self) -> dict[str, str]:
        """Return what JDBC calls connection properties."""
        given = {"user": self.user, "password": self.password, "ApplicationName": "remedi export"}
        return {key: value for key, value in given.items() if value is not None}


class Connection:
    """One JDBC connection; every statement is a transaction of its own, save inside :meth:`transaction`."""

    def __init__(self, spark: SparkSession, database: Database) -> None:
        jvm: Any = spark._jvm
        try:
            driver = jvm.org.postgresql.Driver()
        except TypeError as error:
            raise InputError(f"--jdbc: {DRIVER} is not on the class path; add --packages {POSTGRESQL}") from error
        properties = jvm.java.util.Properties()
        for key, value in {**database.properties(), "loginTimeout": "20"}.items():
            properties.setProperty(key, value)
        with refusals(database.url):
            self._connection = driver.connect(database.url, properties)

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
            with suppress(Py4JJavaError):  # a connection that is gone has rolled back
                self._connection.rollback()
            raise
        finally:
            with suppress(Py4JJavaError):
                self._connection.setAutoCommit(True)

    def close(self) -> None:
        """End the session, and with it its locks."""
        with suppress(Py4JJavaError):
            self._connection.close()


@contextmanager
def refusals(url: str) -> Iterator[None]:
    """Turn what the server refuses into one line that says what to do."""
    try:
        yield
    except Py4JJavaError as error:
        found = _sql_error(error.java_exception)
        if found is None:
            raise
        state, message = found
        if state[:2] == "08" and state not in _MEANING:
            meaning = (
                "cannot connect or the connection broke; is the server up, are host and port right? Then run again"
            )
        elif state in _MEANING or state[:2] in _CLASSES:
            meaning = _MEANING.get(state) or _CLASSES[state[:2]]
        elif "No space left" in message or "File too large" in message:
            meaning = _MEANING["53100"]
        else:
            raise
        where = url.split("?", maxsplit=1)[0]
        raise InputError(f"{where}: {message.splitlines()[0]} ({meaning}); {_stands(state)}") from error


def _stands(state: str) -> str:
    """Say what the target holds after a refusal; a commit whose answer was lost may have been done."""
    lost = state[:2] in ("08", "57")
    return "the target holds the former rows or all of the new ones" if lost else "nothing of the target was changed"


def _sql_error(error: Any) -> tuple[str, str] | None:
    """Return state and message of the first SQLException among an exception, its causes and its text."""
    while error is not None:
        if error.getClass().getName().startswith(("org.postgresql.util.PSQL", "java.sql.")):
            return str(error.getSQLState() or ""), str(error.getMessage())
        text = str(error.getMessage())
        # A task's exception reaches the driver as text.
        found = re.search(r"org\.postgresql\.util\.PSQLException: (.*)", text)
        if found:
            return _state_of(found.group(1)), found.group(1)
        error = error.getCause()
    return None


def _state_of(message: str) -> str:
    known = {
        "No space left": "53100", "File too large": "53100", "terminating connection": "57P01",
        "I/O error": "08006", "invalid byte sequence": "22021", "violates": "23000",
        "Connection to": "08001", "refused": "08001", "password": "28P01",
    }  # fmt: skip
    return next((state for words, state in known.items() if words in message), "")
