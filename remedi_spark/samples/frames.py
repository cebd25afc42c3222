"""A pandas frame as the feature contract reads it: the twin of what Spark reads of the same table.

Taken are the types that pandas, pyarrow and Spark give: nullable, Arrow-backed and categorical columns, decimals, dates
and times with and without a zone, and the text of a CSV, which pandas gives where it cannot tell a type.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from remedi_spark.errors import InputError
from remedi_spark.reading.csv_types import (
    COMMA,
    DAY,
    ENDLESS,
    GROUPED,
    MISSING_MARKS,
    MOMENT,
    NUMBER,
    full,
)  # fmt: skip

if TYPE_CHECKING:
    from remedi_spark.samples.schema import Feature, Kind

_DAY_SECONDS = 86_400
_NUMBERS = ("integer", "floating", "mixed-integer-float", "decimal", "timedelta", "timedelta64")
_EXACT = 2**53
_PLAIN, _ENDLESS, _COMMA = full(NUMBER), full(ENDLESS), full(f"({COMMA})|({GROUPED})")
_MOMENT = full(f"({DAY})|({MOMENT})")
_TRUTH = {"true": 1.0, "1": 1.0, "1.0": 1.0, "false": 0.0, "0": 0.0, "0.0": 0.0}


class NamedColumns:
    """The columns of a frame by names as text, as pandas writes them to files; those of a named index as well."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self.index = frame.index
        self._frame = frame
        self._places = {str(name): i for i, name in enumerate(frame.columns)}
        self._levels = {str(name): name for name in frame.index.names if name is not None}

    def __iter__(self) -> Iterator[str]:
        return iter({**self._levels, **self._places})

    def __getitem__(self, name: str) -> pd.Series[Any]:
        if name in self._places:
            return self._frame.iloc[:, self._places[name]]
        level = list(self.index.names).index(self._levels[name])
        return pd.Series(self.index.get_level_values(level), index=self.index)


def named_columns(frame: Any) -> NamedColumns:
    """Return the columns of a pandas frame, or of a pyarrow table.

    Raises:
        InputError: it is something else, or names are tuples or stand twice.
    """
    if not isinstance(frame, pd.DataFrame):
        frame = _as_pandas(frame)
    if isinstance(frame.columns, pd.MultiIndex):
        raise InputError(
            f"frame: its columns have {frame.columns.nlevels} levels (such as {frame.columns[0]!r}); flatten the names"
            " to those of training"
        )
    names = pd.Index([str(name) for name in frame.columns])
    if names.has_duplicates:
        raise InputError(f"frame: has two columns named {names[names.duplicated()][0]!r}; give each its own name")
    return NamedColumns(frame)


def _as_pandas(frame: Any) -> pd.DataFrame:
    import pyarrow as pa

    if isinstance(frame, pa.Table | pa.RecordBatch):
        made: pd.DataFrame = frame.to_pandas(types_mapper=pd.ArrowDtype, ignore_metadata=True)
        return made
    raise InputError(f"frame: is a {type(frame).__name__}, expected one of pandas; convert it with toPandas()")


def canonical_values(feature: Feature, given: pd.Series[Any]) -> pd.Series[Any]:
    """Return float64, or object for a category, of one column; null where the value is null or no finite number.

    Raises:
        InputError: the column is of another type than in training.
    """
    values = _plain(given)
    found, empty = pandas_kind(values), bool(values.isna().all())
    if feature.kind == "category":
        return _texts(feature, values, found, empty)
    if found == "category" and not empty:
        parsed = np.array([_from_text(feature, one) for one in values.astype(object)], dtype=np.float64)
        return pd.Series(parsed, index=values.index)
    if not (empty or accepts(feature.kind, found)):
        raise _another_type(feature, values)
    if feature.kind in ("date", "timestamp"):
        days = _days(values)
        return pd.Series(np.floor(days) if feature.kind == "date" else days, index=values.index)
    if pd.api.types.is_timedelta64_dtype(values):
        counts = values.to_numpy().astype("int64").astype("float64")
        return pd.Series(np.where(values.isna(), np.nan, counts), index=values.index)
    numbers = values.astype(object).where(values.notna(), np.nan).astype("float64")
    return numbers.where(np.isfinite(numbers), np.nan)


def accepts(expected: Kind, found: str) -> bool:
    """A number may arrive as a boolean and the other way round; a date as a timestamp and the other way round."""
    groups = ({"number", "boolean"}, {"date", "timestamp"}, {"category"})
    return any(expected in group and found in group for group in groups)


def pandas_kind(values: pd.Series[Any]) -> str:
    """Return the kind of a pandas column, or what pandas calls it where it is none."""
    inferred = pd.api.types.infer_dtype(values, skipna=True)
    kinds = {"date": "date", "datetime": "timestamp", "datetime64": "timestamp", "boolean": "boolean"}
    if inferred in ("string", "categorical"):
        return "category"
    return kinds.get(inferred, "number" if inferred in _NUMBERS else inferred)


def _plain(values: pd.Series[Any]) -> pd.Series[Any]:
    """Return a column without pandas' and pyarrow's wrappings: categories as values, bytes of text as text."""
    dtype: Any = values.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        values = values.astype(dtype.categories.dtype if not values.isna().any() else object)
    if isinstance(values.dtype, pd.ArrowDtype):
        values = _without_arrow(values)
    if values.dtype == object and pd.api.types.infer_dtype(values, skipna=True) == "bytes":
        return values.map(lambda one: one.decode("utf-8", "replace") if isinstance(one, bytes) else one)
    return values


def _without_arrow(values: pd.Series[Any]) -> pd.Series[Any]:
    import pyarrow as pa

    array = pa.chunked_array(values.array.__arrow_array__())
    if pa.types.is_dictionary(array.type):
        array = array.cast(array.type.value_type)
    if pa.types.is_integer(array.type) or pa.types.is_boolean(array.type):
        return pd.Series(array.to_pylist(), index=values.index, dtype=object)
    if pa.types.is_timestamp(array.type) and array.type.unit == "ns":
        return pd.Series(array.to_pandas().array, index=values.index)
    if pa.types.is_duration(array.type):
        return pd.Series(array.to_pandas().array, index=values.index)
    return pd.Series(array.to_pylist(), index=values.index, dtype=object)


def _texts(feature: Feature, values: pd.Series[Any], found: str, empty: bool) -> pd.Series[Any]:
    if not (empty or found == "category"):
        if feature.text is None or found != "number":
            raise _another_type(feature, values)
        values = _digits(feature, values)
    text = values.astype(object)
    return text.where(text.notna(), feature.missing).map(lambda value: value if value is None else str(value))


def _digits(feature: Feature, values: pd.Series[Any]) -> pd.Series[Any]:
    """Return numbers that pandas has made of a CSV's text as that text, where nothing was lost."""
    if feature.text == "lost":
        raise InputError(
            f"frame: feature {feature.name!r} is of type {values.dtype}, but was text with leading zeros or more digits"
            f" than a float holds in training; read it with dtype={{{feature.name!r}: str}}"
        )
    return values.astype(object).map(lambda one: one if _is_null(one) else _written(feature, one))


def _written(feature: Feature, number: Any) -> str:
    if isinstance(number, float) and number.is_integer():
        if abs(number) > _EXACT:
            raise InputError(
                f"frame: feature {feature.name!r} holds {number!r}, too long for a float; read it with"
                f" dtype={{{feature.name!r}: str}}"
            )
        return str(int(number))
    return str(number)


def _is_null(value: Any) -> bool:
    return value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and math.isnan(value))


def _from_text(feature: Feature, value: Any) -> float:
    """Return the number of a CSV's text as Spark reads it; days since 1970 of a date or timestamp."""
    text = "" if _is_null(value) else str(value).strip(" ")
    if text.lower() in ("", *MISSING_MARKS):
        return math.nan
    number = _day_of(feature.kind, text) if feature.kind in ("date", "timestamp") else _number_of(feature, text)
    if number is None:
        raise InputError(
            f"frame: feature {feature.name!r} holds text that is no {feature.kind}, expected one as in training;"
            " correct the values or retrain"
        )
    return number


def _number_of(feature: Feature, text: str) -> float | None:
    if feature.kind == "boolean":
        return _TRUTH.get(text.lower())
    if feature.decimal == "," and _COMMA.fullmatch(text):
        return float(text.replace(".", "").replace(",", "."))
    if _ENDLESS.fullmatch(text):
        return math.nan
    number = float(text) if _PLAIN.fullmatch(text) else None
    return number if number is None or math.isfinite(number) else math.nan


def _day_of(kind: Kind, text: str) -> float | None:
    if not _MOMENT.fullmatch(text):
        return None
    try:
        moment = dt.datetime.fromisoformat(text.replace(" Z", "Z").replace(" +", "+"))
    except ValueError:
        return None
    day = float(_days(pd.Series([moment], dtype=object))[0])
    return math.floor(day) if kind == "date" else day


def _another_type(feature: Feature, values: pd.Series[Any]) -> InputError:
    return InputError(
        f"frame: feature {feature.name!r} is of type {values.dtype}, expected a {feature.kind} as in training"
    )


def _days(values: pd.Series[Any]) -> npt.NDArray[np.float64]:
    """Return days since 1970 in UTC, NaN for null.

    In microseconds as in Spark: pandas' nanoseconds end in 2262, and 9999-12-31 often stands for "never".
    """
    if values.dtype == object or not pd.api.types.is_datetime64_any_dtype(values):
        known = [None if null else _naive(value) for value, null in zip(values, values.isna(), strict=True)]
        stamps = np.array(known, dtype="datetime64[us]")
    else:
        naive = values if values.dt.tz is None else values.dt.tz_convert("UTC").dt.tz_localize(None)
        stamps = naive.to_numpy(dtype="datetime64[us]")
    micros = np.where(np.isnat(stamps), np.nan, stamps.astype(np.int64).astype(np.float64))
    return np.asarray(micros / (_DAY_SECONDS * 1e6), dtype=np.float64)


def _naive(value: Any) -> Any:
    """Return a date, or a moment as UTC without its zone, as numpy takes them."""
    zone = getattr(value, "tzinfo", None)
    return value if zone is None else value.astimezone(dt.UTC).replace(tzinfo=None)
