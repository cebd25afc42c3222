"""What went wrong on the user's side, in one line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class InputError(Exception):
    """The input or the configuration is wrong; the command line turns it into exit code 2.

    The message is one line: what, where, what was found, what was expected, what to do next.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class UndeclaredError(RuntimeError):
    """A stage touches a table, a file or a setting that ``flow.py`` does not declare for it: a fault of the code."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` for the known name closest to ``name``, or an empty string."""
    match = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {match[0]!r}?" if match else ""


_FACTS = "remedi_facts"
_NAMED = re.compile(r"(?:: |Caused by: )?([\w.]+(?:(?:Error|Exception): \S|Failure \().*)")
"""A line that names an exception: after Py4J's own line a colon leads it, and Spark's losses of tasks have a reason."""


@contextmanager
def doing(**facts: str) -> Iterator[None]:
    """Note on an exception that passes what was being done: stage, unit. The innermost note of a name stays."""
    try:
        yield
    except Exception as error:
        setattr(error, _FACTS, facts | failure_facts(error))
        raise


def failure_facts(error: BaseException) -> dict[str, str]:
    """Return what :func:`doing` has noted."""
    return dict(getattr(error, _FACTS, {}))


def cause(error: BaseException) -> str:
    """Return the one line of an error, also of Spark's long ones, that names the cause: the last exception in it."""
    lines = [line.strip() for line in str(error).splitlines()]
    named = [found[1] for line in lines if (found := _NAMED.match(line))]
    first = next((line for line in lines if line), "")
    return named[-1] if named else f"{type(error).__name__}: {first}"


_LOG_OF = re.compile(r"(?:file:/+(?=/))?(\S+)/_delta_log/")
_INCOMPLETE_LOG = (
    "DELTA_VERSIONS_NOT_CONTIGUOUS", "DELTA_STATE_RECOVER_ERROR", "DELTA_TRUNCATED_TRANSACTION_LOG",
    "DELTA_LOG_FILE_NOT_FOUND", "DELTA_MISSING_PART_FILES",
)  # fmt: skip
"""Delta's names for what it finds when files of a log are gone."""
_NOT_JSON = ("JsonParseException", "JsonEOFException", "MismatchedInputException")


def damaged_log(error: BaseException, table: str | None = None) -> str | None:
    """Return one line for an error that Delta raised because a transaction log is not whole, else None.

    Args:
        error: what Delta or Spark raised.
        table: where the table is; None: where the error says.
    """
    text = str(error)
    named = _LOG_OF.search(text)
    broken_json = named is not None and any(mark in text for mark in _NOT_JSON)
    if not broken_json and not any(f"[{mark}]" in text for mark in _INCOMPLETE_LOG):
        return None
    where = table or (named.group(1) if named else "of this run")
    return (
        f"table {where}: its Delta log is damaged ({cause(error)[:200]}); restore {where}/_delta_log from a backup,"
        " or move the table away and run again: what was made from it is made again"
    )


_NO_CLASS = re.compile(r"ClassNotFoundException: Class (org\.apache\.hadoop\.fs\.\S+|com\.google\S+) not found")
_NO_SCHEME = re.compile(r'No FileSystem for scheme:? "?([\w+.-]+)')
_JARS = {"s3a": "hadoop-aws", "s3": "hadoop-aws", "azurebfs": "hadoop-azure", "abfs": "hadoop-azure"}
"""Maven packages of ``org.apache.hadoop``, by a word in the scheme or in the class."""


def unknown_file_system(error: BaseException) -> str | None:
    """Return what to do about an error of Spark that has no library for the scheme of an address, else None."""
    text = str(error)
    found = _NO_SCHEME.search(text) or _NO_CLASS.search(text)
    if found is None:
        return None
    jar = next((jar for word, jar in _JARS.items() if word in found[1]), None)
    package = (
        "the connector of that scheme" if jar is None else f"org.apache.hadoop:{jar} of Spark's own Hadoop version"
    )
    return (
        f"Spark has no library for it ({found[0]}); add {package} to --packages or to spark.packages, with the settings"
        " in docs/howto/file_systems.md"
    )


_UNREADABLE = (
    "FAILED_READ_FILE", "CANNOT_READ_FILE_FOOTER", "Encountered error while reading file", "Could not read footer",
    "Parquet column cannot be converted", "Illegal Parquet type", "SparkUpgradeException", "SparkFileNotFoundException",
    "is not a Parquet file",
)  # fmt: skip
"""What Spark's errors hold when it could not read a file of a table."""
_FILE = re.compile(r"file[: ]+(?:file:/+(?=/))?(\S+?)[.,]?(?:\s|$)")


def unreadable(error: BaseException) -> str | None:
    """Return one line for an error that Spark raised because it could not read a file, else None."""
    text = str(error)
    if not any(mark in text for mark in _UNREADABLE):
        return None
    if "SparkUpgradeException" in text:
        return (
            "table: holds dates before 1582 or times before 1900 whose calendar its writer does not name; set"
            " spark.settings={spark.sql.parquet.datetimeRebaseModeInRead: CORRECTED,"
            " spark.sql.parquet.int96RebaseModeInRead: CORRECTED} to take them as written"
        )
    named = _FILE.search(text)
    where = f"table file {named.group(1)}" if named else "a table"
    return f"{where}: cannot be read ({cause(error)[:300]}); it may be damaged or have changed: write it again"
