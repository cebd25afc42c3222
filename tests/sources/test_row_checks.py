"""Checks of an incoming table: each fault is named, and a sound table is counted."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import pytest

from remedi_spark.errors import InputError
from remedi_spark.samples.checks import RowFacts, check_keys, check_rows
from remedi_spark.samples.flat import FlatTable, key_columns, require_column, require_roles
from remedi_spark.samples.schema import FeatureContract, infer_features

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SOURCE = FlatTable("t", label="bought", id="owner", time="day", weight="w")
SCHEMA = "owner string, day string, bought string, w string, spend double, brand string"
SOUND = [
    ("a", "2026-01-01", "1", "1", 3.0, "x"),
    ("a", "2026-02-01", "0", "2.5", None, "y"),
    ("b", "2026-01-01 12:30:00", "0", "0", 1.0, None),
    ("c", "2026-01-01", None, "1", 1.0, "x"),
]


def _rows(spark: SparkSession, data: list[tuple[Any, ...]], source: FlatTable = SOURCE, schema: str = SCHEMA) -> Any:
    frame = spark.createDataFrame(data, schema)
    features, _ = infer_features(frame, list(source.roles().values()))
    contract = FeatureContract(tuple(features), source.id, source.time)
    rows = frame.select(
        *key_columns(frame, source.id, source.time),
        source.label_column().alias("label"),
        source.weight_column().alias("weight"),
        *contract.select(frame, table="t"),
    )
    return rows, contract


def _check(spark: SparkSession, data: list[tuple[Any, ...]], source: FlatTable = SOURCE, binary: bool = True) -> Any:
    rows, contract = _rows(spark, data, source)
    return check_rows(rows, contract, "t", source, binary=binary)


def test_a_sound_table_is_counted(spark: SparkSession) -> None:
    assert _check(spark, SOUND) == RowFacts(
        rows=4, labelled=3, positives=1, constant=set(), weightless=1, mean_weight=1.75
    )


def test_keys_keep_their_type_and_texts_become_times(spark: SparkSession) -> None:
    rows, _ = _rows(spark, SOUND)
    assert dict(rows.dtypes)["owner_id"] == "string"
    assert dict(rows.dtypes)["snapshot_date"] == "timestamp"
    frame = spark.createDataFrame([(1, date(2026, 1, 1), 7)], "owner long, day date, week int")
    assert frame.select(*key_columns(frame, "owner", "day")).dtypes == [
        ("owner_id", "bigint"),
        ("snapshot_date", "date"),
    ]
    assert dict(frame.select(*key_columns(frame, "owner", "week")).dtypes)["snapshot_date"] == "bigint"
    none = frame.select(*key_columns(frame, "owner", None)).collect()[0]
    assert none["snapshot_date"] is None


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ([], r"table t: no rows"),
        ([(None, "2026-03-01", "0", "1", 1.0, "x")], r"column 'owner' \(--id\) is null in 1 rows"),
        ([("d", None, "0", "1", 1.0, "x")], r"column 'day' \(--time\) is null or not a time in 1 rows"),
        ([("d", "soon", "0", "1", 1.0, "x")], r"column 'day' \(--time\) is null or not a time in 1 rows"),
        ([("d", "2026-01-01", "2", "1", 1.0, "x")], r"column 'bought' \(--label\).*in 1 rows \(for example 2\)"),
        ([("d", "2026-01-01", "yes", "1", 1.0, "x")], r"column 'bought' \(--label\).*in 1 rows \(for example text\)"),
        ([("d", "2026-01-01", "0", "-1", 1.0, "x")], r"column 'w' \(--weight\) has 1 values"),
        ([("d", "2026-01-01", "0", None, 1.0, "x")], r"column 'w' \(--weight\) has 1 values"),
        ([("d", "2026-01-01", "0", "Infinity", 1.0, "x")], r"column 'w' \(--weight\) has 1 values"),
        ([("a", "2026-01-01", "0", "1", 1.0, "x")], r"table t: \(owner, day\): one value stands 2 times"),
    ],
)
def test_each_fault_is_named(spark: SparkSession, changed: list[tuple[Any, ...]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        _check(spark, [*SOUND, *changed] if changed else [])


@pytest.mark.parametrize(
    ("labels", "message"),
    [(["0", "0"], "is 0 in all 2 labelled rows"), (["1", "1"], "is 1 in all 2"), ([None, None], "null in every row")],
)
def test_one_class_is_refused(spark: SparkSession, labels: list[str | None], message: str) -> None:
    data = [(str(i), "2026-01-01", label, "1", float(i), "x") for i, label in enumerate(labels)]
    with pytest.raises(InputError, match=message):
        _check(spark, data)


def test_an_amount_is_a_label_of_a_regression(spark: SparkSession) -> None:
    data = [("a", "2026-01-01", "12.5", "1", 1.0, "x"), ("b", "2026-01-01", "-3", "1", 2.0, "y")]
    assert _check(spark, data, binary=False).labelled == 2
    with pytest.raises(InputError, match=r"12\.5 in every row; a constant target"):
        _check(spark, data[:1], binary=False)
    with pytest.raises(InputError, match="1 values that are not finite"):
        _check(spark, [*data, ("c", "2026-01-01", "Infinity", "1", 1.0, "x")], binary=False)


def test_constant_features_are_found(spark: SparkSession) -> None:
    """One value and no null, or only nulls; one value beside nulls says something."""
    schema = "owner long, bought double, one double, none double, some double, varying string, level string"
    data = [(i, float(i % 2), 5.0, None, None if i else 5.0, str(i), "x") for i in range(4)]
    source = FlatTable("t", label="bought", id="owner")
    rows, contract = _rows(spark, data, source, schema)
    found = check_rows(rows, contract, "t", source, binary=True).constant
    assert {contract.names[i] for i in found} == {"one", "none", "level"}


def test_an_owner_twice_without_a_time_hints_at_one(spark: SparkSession) -> None:
    schema = "owner long, bought double, spend double"
    source = FlatTable("t", label="bought", id="owner")
    rows, contract = _rows(spark, [(1, 1.0, 2.0), (1, 0.0, 3.0), (2, 0.0, 1.0)], source, schema)
    with pytest.raises(InputError, match=r"owner: one value stands 2 times, expected once each; .*--time"):
        check_rows(rows, contract, "t", source, binary=True)


def test_a_table_to_score_needs_only_keys(spark: SparkSession) -> None:
    frame = spark.createDataFrame([(1, None), (2, None)], "owner_id long, snapshot_date date")
    assert check_keys(frame, "t", "owner", None) == 2
    with pytest.raises(InputError, match="no rows; expected owners to score"):
        check_keys(frame.limit(0), "t", "owner", None)
    with pytest.raises(InputError, match="owner: 2 values stand more than once, one of them 2 times"):
        check_keys(frame.union(frame), "t", "owner", None)


def test_roles_must_be_columns_and_differ(spark: SparkSession) -> None:
    frame = spark.createDataFrame([("a", "d", "1", "1", 1.0, "x")], SCHEMA)
    require_roles(frame, SOURCE, "t")
    with pytest.raises(InputError, match=r"no column 'bougth' \(--label\); did you mean 'bought'"):
        require_roles(frame, FlatTable("t", label="bougth", id="owner"), "t")
    with pytest.raises(InputError, match="column 'owner' has two roles"):
        require_roles(frame, FlatTable("t", label="owner", id="owner"), "t")
    with pytest.raises(InputError, match=r"no column 'zzz' \(--id\); it has: owner, day, bought"):
        require_column(frame, "zzz", "--id", "t")


@pytest.mark.parametrize("kind", ["date", "timestamp", "timestamp_ntz", "array<int>", "struct<a int>", "binary"])
@pytest.mark.parametrize("role", ["label", "weight"])
def test_a_label_or_weight_that_holds_no_numbers_is_refused(spark: SparkSession, kind: str, role: str) -> None:
    frame = spark.createDataFrame([], f"owner string, bought {kind if role == 'label' else 'int'}, w {kind}")
    source = FlatTable("t", "bought", "owner", weight=None if role == "label" else "w")
    name = "bought" if role == "label" else "w"
    with pytest.raises(InputError, match=rf"table t: column '{name}' \(--{role}\) is of type {kind.partition('<')[0]}"):
        require_roles(frame, source, "t")


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("boolean", ["true", "false", None]), ("decimal(10,2)", ["1", "0", None]), ("bigint", ["1", "0", None]),
        ("string", ["true", "False", None]), ("string", ["1", "0", None]), ("string", ["1.0", " 0 ", None]),
        ("double", ["1", "0", "NaN"]), ("float", ["1", "0", "NaN"]), ("tinyint", ["1", "0", None]),
    ],
)  # fmt: skip
def test_a_label_may_be_written_in_many_ways(spark: SparkSession, kind: str, values: list[str | None]) -> None:
    frame = spark.createDataFrame([(value,) for value in values], "bought string")
    frame = frame.select(frame["bought"].cast(kind).alias("bought"))
    found = frame.select(FlatTable("t", "bought", "owner").label_column().alias("label")).collect()
    assert [row["label"] for row in found] == [1.0, 0.0, None]


def test_digits_in_text_are_months_and_days(spark: SparkSession) -> None:
    texts = [" 202401", "20240115", "2024-02-01", "209913"]
    frame = spark.createDataFrame([("a", text) for text in texts], "o string, t string")
    moments = [row[1] for row in frame.select(*key_columns(frame, "o", "t")).collect()]
    assert [moment and moment.date() for moment in moments] == [
        date(2024, 1, 1), date(2024, 1, 15), date(2024, 2, 1), None
    ]  # fmt: skip
    with pytest.raises(InputError, match=r"'t' \(--time\) is of type boolean"):
        key_columns(spark.createDataFrame([("a", True)], "o string, t boolean"), "o", "t")


def test_ids_that_pandas_has_made_floats_are_written_as_they_were(spark: SparkSession) -> None:
    frame = spark.createDataFrame([(1465.0,), (12345678.0,), (0.5,), (float("nan"),), (None,)], "owner double")
    found = [row[0] for row in frame.select(key_columns(frame, "owner", None)[0]).collect()]
    assert found == ["1465", "12345678", "0.5", None, None]
