"""The feature dictionary: what every column of ``owner_features`` means, as a table and as column comments."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from remedi_spark.columns import OWNER, SNAPSHOT
from remedi_spark.features.phrases import Phrase, described
from remedi_spark.spark.local_rows import local_rows
from remedi_spark.spark.names import quoted
from remedi_spark.storage.own_names import stored_names

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

SCHEMA = (
    "name string, meaning string, source string, window string, unit string, null_meaning string, "
    "column string, phrase struct<many string, one string, none string, unit string>"
)


@dataclass(frozen=True)
class Entry:
    """One line of the dictionary; the fields are its columns."""

    name: str
    meaning: str
    source: str
    window: str | None
    unit: str
    null_meaning: str
    said: Phrase | None = None
    """How a reason says the value; None: from the other fields."""

    @property
    def phrase(self) -> Phrase:
        """How a reason says the value."""
        return self.said or described(self.meaning, self.window, self.unit, self.null_meaning)

    @property
    def comment(self) -> str:
        """The line as a column comment."""
        window = f" within {self.window}" if self.window else ""
        return f"{self.meaning}{window}; unit: {self.unit}; null: {self.null_meaning}; source: {self.source}"


def dictionary_frame(spark: SparkSession, entries: Iterable[Entry]) -> DataFrame:
    """Return the dictionary as a table, one row a column of ``owner_features``, in their order.

    ``column`` is where the feature is stored: its name, or a cleaned one where Delta refuses that.
    """
    entries = list(entries)
    stored = stored_names([OWNER, SNAPSHOT, *(entry.name for entry in entries)])
    rows = [
        {
            "name": e.name, "meaning": e.meaning, "source": e.source, "window": e.window, "unit": e.unit,
            "null_meaning": e.null_meaning, "column": stored[e.name], "phrase": asdict(e.phrase),
        }
        for e in entries
    ]  # fmt: skip
    return local_rows(spark, rows, SCHEMA)


def phrases(dictionary: DataFrame) -> dict[str, dict[str, Any]]:
    """Return the phrase of every feature of a dictionary as JSON; none of one that an earlier version wrote."""
    if "phrase" not in dictionary.columns:
        return {}
    return {row["name"]: row["phrase"].asDict() for row in dictionary.select("name", "phrase").collect()}


def with_comments(frame: DataFrame, entries: Iterable[Entry]) -> DataFrame:
    """Return the frame with the entries as column comments, which Delta stores with the table."""
    comments = {entry.name: entry.comment for entry in entries}
    return frame.select(
        *(
            F.col(quoted(name)).alias(name, metadata={"comment": comments[name]})
            if name in comments
            else F.col(quoted(name))
            for name in frame.columns
        )
    )
