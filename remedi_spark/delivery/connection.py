"""Which database to connect to, and what its refusal means to the user."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, unquote, urlencode

from remedi_spark.delivery.postgres_session import Session, driver, refusal
from remedi_spark.errors import InputError
from remedi_spark.spark.errors import SPARK_ERRORS

PREFIXES = ("jdbc:postgresql:", "postgresql:")
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
_LIBPQ = {
    "ApplicationName": "application_name", "loginTimeout": "connect_timeout", "connectTimeout": "connect_timeout",
    "targetServerType": "target_session_attrs", "gssEncMode": "gssencmode", "channelBinding": "channel_binding",
}  # fmt: skip
"""libpq's name by that of the JDBC driver, where they differ."""
_JAVA_ONLY = ("reWriteBatchedInserts", "prepareThreshold", "socketTimeout", "tcpKeepAlive", "defaultRowFetchSize")
_DEFAULTS = {"application_name": "remedi export", "connect_timeout": "20"}
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
        if not url.startswith(PREFIXES):
            shown = url.split("?", maxsplit=1)[0]
            raise InputError(
                f"--jdbc {shown}: expected postgresql://HOST:PORT/DATABASE, with jdbc: before it or without; for "
                "another database, export Parquet files with --out and load them there"
            )
        if re.search(r"[?&](ssl)?password=|//[^/@]*:[^/@]*@", unquote(url), re.IGNORECASE):
            raise InputError(f"--jdbc: the URL holds a password, which logs would show; set {PASSWORD} instead")
        return cls(url, os.environ.get(USER), os.environ.get(PASSWORD))

    def parameters(self) -> dict[str, str]:
        """Return libpq's connection parameters: what the URL does not say comes from the environment.

        Raises:
            InputError: psycopg is not installed, or the URL has a parameter that libpq does not know.
        """
        address, _, query = self.url.removeprefix("jdbc:").partition("?")
        if not address.startswith("postgresql://"):  # JDBC's short form for a database of this machine
            address = f"postgresql://localhost/{address.removeprefix('postgresql:').lstrip('/')}"
        wanted = urlencode(_of_libpq(parse_qsl(query, keep_blank_values=True)), quote_via=quote)
        try:
            found = driver().conninfo.conninfo_to_dict(f"{address}?{wanted}")
        except driver().ProgrammingError as error:
            raise InputError(f"--jdbc {address}: {error}; expected parameters of PostgreSQL's libpq") from error
        # A password comes from one place alone: an empty one keeps libpq's variable out, a missing file its file.
        given = {"user": self.user, "password": self.password or "", "passfile": f"{os.devnull}/none"}
        named = {key: value for key, value in given.items() if value is not None}
        return {**_DEFAULTS, **named, **{key: str(value) for key, value in found.items()}}


def _of_libpq(query: list[tuple[str, str]]) -> dict[str, str]:
    """Return the parameters of a URL by libpq's names; those that only tune the driver of Java are left out."""
    named: dict[str, str] = {}
    for name, value in query:
        if name == "ssl":
            named.setdefault("sslmode", "verify-full" if value.lower() in ("true", "") else "prefer")
        elif name == "currentSchema":
            named["options"] = f"-c search_path={value}"
        elif name not in _JAVA_ONLY:
            named[_LIBPQ.get(name, name)] = value
    return named


def connect(database: Database) -> Session:
    """Return a session of this process.

    Raises:
        InputError: psycopg is not installed, or the server refuses.
    """
    parameters = database.parameters()
    with refusals(database.url):
        return Session(parameters)


@contextmanager
def refusals(url: str) -> Iterator[None]:
    """Turn what the server refuses into one line that says what to do."""
    try:
        yield
    except (driver().Error, *SPARK_ERRORS) as error:
        found = refusal(error)
        if found is None:
            raise
        state, message = found
        if state[:2] == "08" and state not in _MEANING:
            meaning = (
                "cannot connect or the connection broke; is the server up, are host and port right? Then run again"
            )
        elif state in _MEANING or state[:2] in _CLASSES:
            meaning = _MEANING.get(state) or _CLASSES[state[:2]]
        else:
            raise
        where = url.split("?", maxsplit=1)[0]
        raise InputError(f"{where}: {message.splitlines()[0]} ({meaning}); {_stands(state)}") from error


def _stands(state: str) -> str:
    """Say what the target holds after a refusal; a commit whose answer was lost may have been done."""
    lost = state[:2] in ("08", "57")
    return "the target holds the former rows or all of the new ones" if lost else "nothing of the target was changed"
