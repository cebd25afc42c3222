"""The feature contract reads a Spark table and a pandas frame alike, and refuses what it was not trained on."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from remedi_spark.errors import InputError
from remedi_spark.samples.schema import Feature, FeatureContract, infer_features
from remedi_spark.storage.tables import read_table

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

NAMES = {
    "integer": "n.visits",
    "floating": "spend, total [EUR]",
    "decimal": 'say "decimal"',
    "boolean": "is `new`",
    "date": "first day's date",
    "timestamp": "zuletzt gesehen: Zürich",
    "text": "märke {a}",
}
ROWS = [
    (1, 1.5, Decimal("12.34"), True, date(2026, 1, 31), datetime(2026, 1, 31, 13, 5, 7, 123456), "A"),
    (None, float("nan"), None, None, None, None, None),
    (-(2**40), float("inf"), Decimal("-0.01"), False, date(1969, 12, 31), datetime(1969, 12, 31, 23, 59, 59), ""),
    (0, -float("inf"), Decimal("0.00"), True, date(9999, 12, 31), datetime(9999, 12, 31), " É'\"`,[x]"),
    (7, 1e300, Decimal("99999999.99"), False, date(1900, 1, 1), datetime(1900, 1, 1), "None"),
]


@pytest.fixture(scope="module")
def table(spark: SparkSession) -> Any:
    types = ("bigint", "double", "decimal(10,2)", "boolean", "date", "timestamp", "string")
    schema = ", ".join(f"`{name.replace('`', '``')}` {kind}" for name, kind in zip(NAMES.values(), types, strict=True))
    aware = [(*row[:5], row[5] and row[5].replace(tzinfo=UTC), row[6]) for row in ROWS]
    return spark.createDataFrame(aware, schema)


@pytest.fixture(scope="module")
def contract(table: Any) -> FeatureContract:
    features, unusable = infer_features(table, skip=())
    assert not unusable
    return FeatureContract(tuple(features))


def _pandas() -> pd.DataFrame:
    """The same rows as a user of pandas would hold them: Python objects where pandas has no type."""
    columns = {name: [row[i] for row in ROWS] for i, name in enumerate(NAMES.values())}
    frame = pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()})
    frame[NAMES["integer"]] = frame[NAMES["integer"]].astype("Int64")
    frame[NAMES["floating"]] = frame[NAMES["floating"]].astype("float64")
    frame[NAMES["boolean"]] = frame[NAMES["boolean"]].astype("boolean")
    return frame


def test_kinds_follow_the_types(contract: FeatureContract) -> None:
    kinds = ["number", "number", "number", "boolean", "date", "timestamp", "category"]
    assert [feature.kind for feature in contract.features] == kinds
    assert contract.names == list(NAMES.values())
    assert (contract.numbers, contract.categories) == ([0, 1, 2, 3, 4, 5], [6])


def test_spark_and_pandas_read_the_same_numbers(contract: FeatureContract, table: Any) -> None:
    rows = [row.asDict() for row in table.select(*contract.select(table, table="t")).collect()]
    selected = pd.DataFrame(rows, columns=contract.columns)
    canonical = contract.canonical(_pandas())
    for name in contract.columns[:6]:
        np.testing.assert_array_equal(selected[name].astype("float64"), canonical[name], err_msg=name)
    assert selected["f6"].tolist() == canonical["f6"].tolist() == ["A", None, "", " É'\"`,[x]", "None"]


def test_numbers_are_what_they_should_be(contract: FeatureContract) -> None:
    canonical = contract.canonical(_pandas())
    assert canonical["f1"].tolist()[0] == 1.5
    assert canonical["f1"].isna().tolist() == [False, True, True, True, False]
    assert canonical["f2"].tolist()[0] == 12.34
    assert canonical["f3"].tolist()[0] == 1.0
    assert canonical["f4"].tolist()[0] == (date(2026, 1, 31) - date(1970, 1, 1)).days
    assert canonical["f4"].tolist()[2] == -1
    assert canonical["f5"].tolist()[0] == pytest.approx(canonical["f4"].tolist()[0] + 47107.123456 / 86400, abs=1e-9)


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("number", [True, False, None], [1.0, 0.0, np.nan]),
        ("boolean", [1, 0, None], [1.0, 0.0, np.nan]),
        ("date", [pd.Timestamp("1970-01-03 23:00"), pd.NaT, pd.Timestamp("1969-12-31 01:00")], [2.0, np.nan, -1.0]),
        ("timestamp", [date(1970, 1, 2), None, date(1970, 1, 3)], [1.0, np.nan, 2.0]),
        ("timestamp", [pd.Timestamp("1970-01-02", tz="Asia/Tokyo"), None, None], [0.625, np.nan, np.nan]),
        ("number", [None, None, None], [np.nan] * 3),
        ("number", pd.array([1.5, None, 2], dtype="Float64"), [1.5, np.nan, 2.0]),
    ],
)
def test_near_types_are_taken(kind: Any, values: Any, expected: list[float]) -> None:
    frame = pd.DataFrame({"x": values})
    found = FeatureContract((Feature("x", kind),)).canonical(frame)["f0"]
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.float64


def test_categoricals_and_arrow_strings_are_categories() -> None:
    contract = FeatureContract((Feature("x", "category"),))
    for values in (pd.Categorical(["a", None]), pd.array(["a", None], dtype="string[pyarrow]"), ["a", None]):
        assert contract.canonical(pd.DataFrame({"x": values}))["f0"].tolist() == ["a", None]
    assert contract.canonical(pd.DataFrame({"x": [np.nan, np.nan]}))["f0"].tolist() == [None, None]


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("category", [1, 2]),
        ("date", [20260131, 20260201]),
        ("number", [[1], [2]]),
    ],
)
def test_other_types_are_refused_by_both(kind: Any, values: list[Any], spark: SparkSession) -> None:
    contract = FeatureContract((Feature("x.y", kind),))
    frame = pd.DataFrame({"x.y": values})
    with pytest.raises(InputError, match=rf"frame: feature 'x\.y' is of type .*, expected a {kind} as in training"):
        contract.canonical(frame)
    table = spark.createDataFrame([(value,) for value in values], ["x.y"])
    with pytest.raises(InputError, match=rf"table t: feature 'x\.y' is of type .*, expected a {kind} as in training"):
        contract.select(table, table="t")


def test_a_missing_feature_is_named_with_the_nearest_column(spark: SparkSession) -> None:
    contract = FeatureContract((Feature("spend", "number"),))
    with pytest.raises(InputError, match="frame: feature 'spend' is missing; did you mean 'spent'"):
        contract.canonical(pd.DataFrame({"spent": [1.0]}))
    with pytest.raises(InputError, match="table t: feature 'spend' is missing; did you mean 'spent'"):
        contract.select(spark.createDataFrame([(1.0,)], ["spent"]), table="t")


def test_a_csv_is_read_as_the_contract_says(spark: SparkSession, tmp_path: Path) -> None:
    """A batch in which all levels look like numbers, and a number column is empty, still means what it meant."""
    path = tmp_path / "batch.csv"
    path.write_text("level,amount,day\n12,,2026-01-31\n7,3.5,\n")
    contract = FeatureContract((Feature("level", "category"), Feature("amount", "number"), Feature("day", "date")))
    frame = read_table(spark, str(path), as_text=contract.names)
    rows = [tuple(row) for row in frame.select(*contract.select(frame, table="t", text=True)).collect()]
    assert rows == [("12", None, (date(2026, 1, 31) - date(1970, 1, 1)).days), ("7", 3.5, None)]
    path.write_text("level,amount,day\n12,much,2026-01-31\n")
    frame = read_table(spark, str(path), as_text=contract.names)
    with pytest.raises(InputError, match="feature 'amount' is text that is no number in 1 rows, expected a number"):
        contract.select(frame, table="t", text=True)


def test_columns_of_unusable_type_are_told(spark: SparkSession) -> None:
    table = spark.createDataFrame([(1, [1.0], b"x", "a")], "id long, tags array<double>, blob binary, level string")
    features, unusable = infer_features(table, skip=["id"])
    assert features == [Feature("level", "category")]
    assert unusable == ["tags", "blob"]


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(InputError, match="kind 'text', expected one of number, boolean, date, timestamp, category"):
        Feature("x", "text")  # type: ignore[arg-type]


def test_round_trip_by_dict(contract: FeatureContract) -> None:
    assert FeatureContract.from_dict(contract.to_dict()) == contract
