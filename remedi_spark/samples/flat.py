"""A ready feature table and the roles of its columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql import types as t

from remedi_spark.columns import OWNER, SNAPSHOT
from remedi_spark.errors import InputError, nearest
from remedi_spark.reading.ids import id_values
from remedi_spark.spark.names import column, try_cast

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


@dataclass(frozen=True)
class FlatTable:
    """A ready feature table: every column without a role is a feature."""

    table: str
    label: str
    id: str
    time: str | None = None
    weight: str | None = None
    test: str | None = None
    ignored: tuple[str, ...] = ()
    """Columns that are no features either."""

    def roles(self) -> dict[str, str]:
        """Return the column behind each option."""
        named = {"--id": self.id, "--label": self.label, "--time": self.time, "--weight": self.weight}
        return {option: name for option, name in named.items() if name is not None}

    def label_column(self) -> Column:
        """Return the label as double: true is 1, false is 0; NaN where a value that is there is not a number.

        A number that is NaN is unknown, like null: that is how pandas and numpy write a missing number.
        """
        word = F.lower(F.trim(column(self.label).cast("string")))
        said = F.when(word == "true", F.lit(1.0)).when(word == "false", F.lit(0.0))
        number = F.coalesce(try_cast(self.label, "double"), said)
        known = F.when(number.isNull(), F.lit(float("nan"))).when(~F.isnan(number), number)
        return F.when(column(self.label).isNotNull(), known)

    def weight_column(self) -> Column:
        """Return the weight as double; 1 without a weight column."""
        return F.lit(1.0) if self.weight is None else try_cast(self.weight, "double")


def require_roles(frame: DataFrame, source: FlatTable, table: str) -> None:
    """Refuse a table without the columns that were named, or with one column in two roles."""
    for option, name in source.roles().items():
        require_column(frame, name, option, table)
    names = list(source.roles().values())
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"table {table}: column {name!r} has two roles; id, label, time and weight must differ")
    require_number(frame, source.label, "--label", table)
    if source.weight is not None:
        require_number(frame, source.weight, "--weight", table)


def require_number(frame: DataFrame, name: str, option: str, table: str) -> None:
    """Refuse a label or weight whose type holds no numbers: a date, a moment, a list, a structure, bytes.

    A date has no cast to a number, and a moment one that nobody means: to seconds since 1970.
    """
    kind = frame.schema[name].dataType
    if isinstance(kind, t.NumericType | t.BooleanType | t.StringType | t.CharType | t.VarcharType | t.NullType):
        return
    hint = ""
    if isinstance(kind, t.DateType | t.TimestampType | t.TimestampNTZType) and option == "--label":
        hint = "; make a column that is 1 where the day lies in the time you want to foresee, else 0"
    raise InputError(
        f"table {table}: column {name!r} ({option}) is of type {kind.simpleString()}, expected numbers, true/false, or"
        f" text that holds them{hint}"
    )


def require_column(frame: DataFrame, name: str, option: str, table: str) -> None:
    """Refuse a table without a named column."""
    if name not in frame.columns:
        hint = nearest(name, frame.columns) or f"; it has: {', '.join(frame.columns[:20])}"
        raise InputError(f"table {table}: no column {name!r} ({option}){hint}")


def key_columns(frame: DataFrame, id_column: str, time: str | None) -> list[Column]:
    """Return owner_id in its own type (a float as text) and snapshot_date.

    A date, timestamp or number stays as it is, text is parsed.

    Without a time column ``snapshot_date`` is a null date. A text that is not a time becomes null, which
    :func:`remedi_spark.samples.checks.check_rows` refuses.
    """
    types = {field.name: field.dataType for field in frame.schema.fields}
    owner = id_values(column(id_column), types[id_column]).alias(OWNER)
    if time is None:
        return [owner, F.lit(None).cast("date").alias(SNAPSHOT)]
    data_type = types[time]
    if isinstance(data_type, t.StringType):
        moment = _moment_of_text(time)
    elif isinstance(data_type, t.TimestampNTZType):
        moment = column(time).cast("timestamp")
    elif isinstance(data_type, t.IntegralType):
        moment = column(time).cast("bigint")
    elif isinstance(data_type, t.NumericType):
        moment = column(time).cast("double")
    elif isinstance(data_type, t.DateType | t.TimestampType | t.NullType):
        moment = column(time)
    else:
        raise InputError(
            f"column {time!r} (--time) is of type {data_type.simpleString()}, expected dates, timestamps, numbers such"
            " as 202401, or text that holds them"
        )
    return [owner, moment.alias(SNAPSHOT)]


def _moment_of_text(time: str) -> Column:
    """Return the moments of a text column; digits alone are a month (202401) or a day (20240131).

    Spark reads such digits as a year of its own calendar, or as nothing.
    """
    text = F.trim(column(time))
    month, day = F.try_to_timestamp(F.concat(text, F.lit("01")), F.lit("yyyyMMdd")), F.lit("yyyyMMdd")
    return (
        F.when(text.rlike(r"^\d{6}$"), month)
        .when(text.rlike(r"^\d{8}$"), F.try_to_timestamp(text, day))
        .otherwise(try_cast(time, "timestamp"))
    )
