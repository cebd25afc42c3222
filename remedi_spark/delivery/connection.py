"""Which database to connect to, and what its refusal means to the user."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote

from remedi_spark.errors import InputError
from remedi_spark.spark.errors import SPARK_ERRORS
from remedi_spark.spark.jdbc import Connection, sql_error

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

PREFIX = "jdbc:postgresql:"
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
    "58030": "the server cannot write to its disk; fix it and run again",
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


def connect(spark: SparkSession, database: Database) -> Connection:
    """Return a connection of the driver process.

    Raises:
        InputError: there is no driver for it, or the server refuses.
    """
    with refusals(database.url):
        return Connection(spark, database.url, {**database.properties(), "loginTimeout": "20"})


@contextmanager
def refusals(url: str) -> Iterator[None]:
    """Turn what the server refuses into one line that says what to do."""
    try:
        yield
    except SPARK_ERRORS as error:
        found = sql_error(error)
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
