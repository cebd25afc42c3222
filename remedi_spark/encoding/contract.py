"""The feature contract: which columns a model reads, of which kind, and how a table is checked against it.

Inside, feature ``i`` is called ``f<i>``: LightGBM refuses names with quotes or brackets and Delta refuses names with
commas or spaces. The user's names live here and in everything a person reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from remedi_spark.errors import InputError, nearest

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.types import DataType

Kind = Literal["number", "boolean", "date", "timestamp", "category"]

SPARK_TYPE = {"number": "double", "boolean": "boolean", "date": "date", "timestamp": "timestamp", "category": "string"}
_DAY_SECONDS = 86_400


@dataclass(frozen=True)
class Feature:
    """One input column by the user's name."""

    name: str
    kind: Kind

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise InputError(f"feature {self.name!r}: kind {self.kind!r}, expected one of {', '.join(get_args(Kind))}")


@dataclass(frozen=True)
class FeatureContract:
    """The ordered features of a model, and the names of the key columns in the user's tables."""

    features: tuple[Feature, ...]
    id_column: str = "owner_id"
    time_column: str | None = None

    @property
    def names(self) -> list[str]:
        """The user's names, in order."""
        return [feature.name for feature in self.features]

    @property
    def columns(self) -> list[str]:
        """The inside names ``f0 … fn``, in order."""
        return [f"f{i}" for i in range(len(self.features))]

    @property
    def categories(self) -> list[int]:
        """Positions of the categorical features."""
        return [i for i, feature in enumerate(self.features) if feature.kind == "category"]

    @property
    def numbers(self) -> list[int]:
        """Positions of all others: they become one number each."""
        return [i for i, feature in enumerate(self.features) if feature.kind != "category"]

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able form."""
        return asdict(self)

    @classmethod
    def from_dict(cls, tree: dict[str, Any]) -> FeatureContract:
        """Rebuild from :meth:`to_dict`."""
        features = tuple(Feature(**feature) for feature in tree["features"])
        return cls(features, tree["id_column"], tree["time_column"])

    def select(self, frame: DataFrame, *, table: str, text: bool = False) -> list[Column]:
        """Return the Spark columns ``f0 … fn`` (double, or string for categories) of a checked table.

        Args:
            frame: a table in the user's columns.
            table: its name, for errors.
            text: the table is CSV, so that a number may arrive as text as long as every value can be parsed.

        Raises:
            InputError: a feature is missing, or of another type than in training.
        """
        types = {field.name: field.dataType for field in frame.schema.fields}
        _require(self.names, list(types), table)
        for feature in self.features:
            _check_type(feature, types[feature.name], frame if text else None, table)
        return [_canonical(feature).alias(name) for feature, name in zip(self.features, self.columns, strict=True)]

    def canonical(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return ``f0 … fn`` (float64, or object for categories) of a pandas frame; the twin of :meth:`select`.

        Raises:
            InputError: a feature is missing, or of another type than in training.
        """
        _require(self.names, [str(name) for name in frame.columns], "frame")
        data = {
            name: _canonical_pandas(feature, frame[feature.name])
            for feature, name in zip(self.features, self.columns, strict=True)
        }
        return pd.DataFrame(data, index=frame.index)


def infer_features(frame: DataFrame, skip: Sequence[str]) -> tuple[list[Feature], list[str]]:
    """Return the features of a flat table (every column not in ``skip``) and the columns of unusable type."""
    features: list[Feature] = []
    unusable: list[str] = []
    for field in frame.schema.fields:
        kind = kind_of(field.dataType)
        if field.name in skip:
            continue
        if kind is None:
            unusable.append(field.name)
        else:
            features.append(Feature(field.name, kind))
    return features, unusable


def kind_of(data_type: DataType) -> Kind | None:
    """Return the kind of a Spark type; None for arrays, maps, structs and binary."""
    from pyspark.sql import types as t

    if isinstance(data_type, t.NumericType):
        return "number"
    by_type: dict[type[DataType], Kind] = {
        t.BooleanType: "boolean",
        t.DateType: "date",
        t.TimestampType: "timestamp",
        t.TimestampNTZType: "timestamp",
        t.StringType: "category",
        t.CharType: "category",
        t.VarcharType: "category",
    }
    return by_type.get(type(data_type))


def column(name: str) -> Column:
    """Return the Spark column of exactly this name, dots and backticks included."""
    from pyspark.sql import functions as F

    return F.col(quoted(name))


def try_cast(name: str, data_type: str) -> Column:
    """Return a column cast to a type, null where a value cannot be cast, in ANSI mode too."""
    from pyspark.sql import functions as F

    return F.expr(f"try_cast({quoted(name)} AS {data_type})")


def quoted(name: str) -> str:
    """Return a column's name for SQL, dots and backticks included."""
    return "`" + name.replace("`", "``") + "`"


def _canonical(feature: Feature) -> Column:
    from pyspark.sql import functions as F

    value = try_cast(feature.name, SPARK_TYPE[feature.kind])
    if feature.kind == "category":
        return value
    if feature.kind == "date":
        return F.datediff(value, F.lit("1970-01-01").cast("date")).cast("double")
    if feature.kind == "timestamp":
        return F.unix_micros(value).cast("double") / F.lit(_DAY_SECONDS * 1e6)
    number = value.cast("double")
    finite = ~F.isnan(number) & (F.abs(number) != F.lit(float("inf")))
    return F.when(finite, number)


def _canonical_pandas(feature: Feature, values: pd.Series[Any]) -> pd.Series[Any]:
    found = _pandas_kind(values)
    empty = bool(values.isna().all())
    if not (empty or _accepts(feature.kind, found)):
        raise InputError(
            f"frame: feature {feature.name!r} is of type {values.dtype}, expected a {feature.kind} as in training"
        )
    if feature.kind == "category":
        text = values.astype(object)
        return text.where(text.notna(), None).map(lambda value: value if value is None else str(value))
    if feature.kind in ("date", "timestamp"):
        days = _days(values)
        return pd.Series(np.floor(days) if feature.kind == "date" else days, index=values.index)
    numbers = values.astype(object).where(values.notna(), np.nan).astype("float64")
    return numbers.where(np.isfinite(numbers), np.nan)


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
    return value if zone is None else value.astimezone(UTC).replace(tzinfo=None)


def _pandas_kind(values: pd.Series[Any]) -> str:
    inferred = pd.api.types.infer_dtype(values, skipna=True)
    kinds = {"date": "date", "datetime": "timestamp", "datetime64": "timestamp", "boolean": "boolean"}
    if inferred in ("string", "categorical"):
        return "category"
    return kinds.get(inferred, "number" if inferred in _NUMBERS else inferred)


_NUMBERS = ("integer", "floating", "mixed-integer-float", "decimal")


def _accepts(expected: Kind, found: str) -> bool:
    """A number may arrive as a boolean and the other way round; a date as a timestamp and the other way round."""
    groups = ({"number", "boolean"}, {"date", "timestamp"}, {"category"})
    return any(expected in group and found in group for group in groups)


def _check_type(feature: Feature, data_type: DataType, text: DataFrame | None, table: str) -> None:
    """Refuse a column of another type; in a ``text`` table a column whose every value can be parsed will do."""
    found = kind_of(data_type)
    if data_type.typeName() == "void" or (found is not None and _accepts(feature.kind, found)):
        return
    where = f"table {table}: feature {feature.name!r}"
    expected = f"expected a {feature.kind} as in training"
    if found != "category" or text is None:
        raise InputError(f"{where} is of type {data_type.simpleString()}, {expected}; cast the column or retrain")
    odd = text.where(column(feature.name).isNotNull() & try_cast(feature.name, SPARK_TYPE[feature.kind]).isNull())
    if not odd.isEmpty():
        # How many, not which: a value of an owner has no place in a log.
        raise InputError(
            f"{where} is text that is no {feature.kind} in {odd.count()} rows, {expected}; correct them or retrain"
        )


def _require(wanted: Sequence[str], found: Sequence[str], table: str) -> None:
    known = set(found)
    for name in wanted:
        if name not in known:
            raise InputError(
                f"table {table}: feature {name!r} is missing{nearest(name, known)}; the model was trained with it"
            )
