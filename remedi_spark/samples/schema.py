"""The feature contract: which columns a model reads, of which kind, and how a table is checked against it.

Inside, feature ``i`` is called ``f<i>``: LightGBM refuses names with quotes or brackets and Delta refuses names with
commas or spaces. The user's names live here and in everything a person reads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

import pandas as pd

from remedi_spark.errors import InputError, nearest
from remedi_spark.progress import warn
from remedi_spark.reading.column_notes import DECIMAL, MISSING, ZEROS, is_index, shown
from remedi_spark.reading.csv_types import not_parsed, parsed
from remedi_spark.samples.frames import accepts, canonical_values, named_columns
from remedi_spark.spark.names import quoted, try_cast

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.types import DataType, StructField

Kind = Literal["number", "boolean", "date", "timestamp", "category"]

SPARK_TYPE = {"number": "double", "boolean": "boolean", "date": "date", "timestamp": "timestamp", "category": "string"}
_DAY_SECONDS = 86_400


@dataclass(frozen=True)
class Feature:
    """One input column by the user's name."""

    name: str
    kind: Kind
    decimal: str | None = field(default=None, compare=False)
    """``,`` where training read its numbers from a CSV with decimal commas."""
    text: Literal["kept", "lost"] | None = field(default=None, compare=False)
    """Of a text that training read from a CSV: whether a number read from it gives the text back."""
    missing: str | None = field(default=None, compare=False)
    """Of such a text: the only mark for a missing value, which pandas reads as null."""

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
        tree = asdict(self)
        for one in tree["features"]:
            for optional in ("decimal", "text", "missing"):
                if one[optional] is None:
                    del one[optional]
        return tree

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
        fields = {shown(one): one for one in frame.schema.fields}
        _require(self.names, list(fields), table)
        _check_types(self.features, fields, frame if text else None, table)
        return [
            _canonical(feature, fields[feature.name]).alias(name)
            for feature, name in zip(self.features, self.columns, strict=True)
        ]

    def canonical(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return ``f0 … fn`` (float64, or object for categories) of a pandas frame; the twin of :meth:`select`.

        Raises:
            InputError: a feature is missing, or of another type than in training.
        """
        found = named_columns(frame)
        _require(self.names, list(found), "frame")
        data = {
            name: canonical_values(feature, found[feature.name])
            for feature, name in zip(self.features, self.columns, strict=True)
        }
        return pd.DataFrame(data, index=found.index)


def infer_features(frame: DataFrame, skip: Sequence[str]) -> tuple[list[Feature], list[str]]:
    """Return the features of a flat table (every column not in ``skip``) and the columns of unusable type."""
    features: list[Feature] = []
    unusable: list[str] = []
    for one in frame.schema.fields:
        kind, name = kind_of(one.dataType), shown(one)
        if name in skip:
            continue
        if is_index(one):
            warn("table", f"column {name!r} left out: it is the index of a pandas frame, no feature")
        elif kind is None:
            unusable.append(name)
        else:
            features.append(_feature(name, kind, one.metadata))
    return features, unusable


def _feature(name: str, kind: Kind, metadata: Mapping[str, Any]) -> Feature:
    if kind != "category":
        return Feature(name, kind, metadata.get(DECIMAL))
    return Feature(name, kind, text=metadata.get(ZEROS), missing=metadata.get(MISSING))


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


def _canonical(feature: Feature, found: StructField) -> Column:
    from pyspark.sql import functions as F
    from pyspark.sql import types as t

    if feature.kind == "number" and isinstance(found.dataType, t.FractionalType | t.IntegralType):
        return F.expr(_finite(quoted(found.name)))
    if isinstance(found.dataType, t.StringType) and feature.kind != "category":
        value = F.expr(parsed(quoted(found.name), SPARK_TYPE[feature.kind], comma=_comma(feature, found)))
    else:
        value = try_cast(found.name, SPARK_TYPE[feature.kind])
    if feature.kind == "category":
        return value if feature.missing is None else F.coalesce(value, F.lit(feature.missing))
    if feature.kind == "date":
        return F.datediff(value, F.lit("1970-01-01").cast("date")).cast("double")
    if feature.kind == "timestamp":
        return F.unix_micros(value).cast("double") / F.lit(_DAY_SECONDS * 1e6)
    number = value.cast("double")
    return F.when(F.abs(number) < F.lit(float("inf")), number)


def _finite(number: str) -> str:
    """Return SQL of a number as double, null where it is NaN or infinite.

    One comparison alone, for Spark compiles it for every column: to Spark, NaN is above infinity.
    """
    return f"CASE WHEN abs(double({number})) < double('Infinity') THEN double({number}) END"


def _comma(feature: Feature, found: StructField) -> bool:
    return feature.decimal == "," or found.metadata.get(DECIMAL) == ","


def _check_types(
    features: Sequence[Feature], fields: Mapping[str, StructField], text: DataFrame | None, table: str
) -> None:
    """Refuse columns of another type; in a ``text`` table a column whose every value can be parsed will do."""
    from pyspark.sql import functions as F

    written = []
    for feature in features:
        found = fields[feature.name]
        kind = kind_of(found.dataType)
        if found.dataType.typeName() == "void" or (kind is not None and accepts(feature.kind, kind)):
            continue
        if kind != "category" or text is None:
            raise InputError(
                f"table {table}: feature {feature.name!r} is of type {found.dataType.simpleString()}, expected a"
                f" {feature.kind} as in training; cast the column or retrain"
            )
        written.append((feature, found))
    if text is None or not written:
        return
    # One job for all columns. How many, not which: a value of an owner has no place in a log.
    odd = [F.expr(f"count_if({_odd(feature, found)})").alias(f"odd{i}") for i, (feature, found) in enumerate(written)]
    counts = text.agg(*odd).collect()[0]
    for (feature, _), count in zip(written, counts, strict=True):
        if count:
            raise InputError(
                f"table {table}: feature {feature.name!r} is text that is no {feature.kind} in {count} rows, expected a"
                f" {feature.kind} as in training; correct them or retrain"
            )


def _odd(feature: Feature, found: StructField) -> str:
    return not_parsed(quoted(found.name), SPARK_TYPE[feature.kind], comma=_comma(feature, found))


def _require(wanted: Sequence[str], found: Sequence[str], table: str) -> None:
    known = set(found)
    for name in wanted:
        if name not in known:
            raise InputError(
                f"table {table}: feature {name!r} is missing{nearest(name, known)}; the model was trained with it"
            )
