"""Events as people bring them: odd names, times and numbers, through Spark."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from remedi_spark.config.features import FeaturesConfig
from remedi_spark.errors import InputError
from remedi_spark.features import stage as features
from remedi_spark.features.accumulate import Rows, fits
from remedi_spark.features.build import build_owner_features
from remedi_spark.features.changes import fingerprint
from remedi_spark.features.ids import beyond_digits, id_text
from remedi_spark.features.times import day_of, months_in
from remedi_spark.storage.tables import Tables, read_table

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

START = dt.date(2024, 3, 31)


def declared(over: dict[str, Any], **source: Any) -> FeaturesConfig:
    tree: dict[str, Any] = {
        "entity": "user.id",
        "sources": {"Käufe": {"path": "x", "event_time": "event.time", **source}},
        "label": {"source": "Käufe", "filter": "`event.name` = 'buy'", "horizon_days": 28},
        "snapshots": {"start": START, "every_days": 28},
        "groups": {
            "all": {
                "source": "Käufe",
                "windows": [28],
                "measures": {
                    "sum": {"aggregate": "sum", "of": "properties.amount"},
                    "std": {"aggregate": "std", "of": "properties.amount"},
                    "mean": {"aggregate": "mean", "of": "properties.amount"},
                    "kinds": {"aggregate": "distinct", "of": "event.name"},
                },
            },
            "level": {"source": "Käufe", "each": "event.name", "top": 4, "windows": [28],
                      "measures": {"count": {"aggregate": "count"}}},
        },
    }  # fmt: skip
    return FeaturesConfig.model_validate(tree | over)


def events(amounts: list[float], ids: Any = "u1") -> pd.DataFrame:
    rows = len(amounts)
    days = [START - dt.timedelta(days=1 + row % 20) for row in range(rows)]
    last = {"user.id": ids, "event.name": "buy", "event.time": START + dt.timedelta(days=40), "properties.amount": 1.0}
    levels = ["A+", "A-", "汽车", "{parent}"]
    frame = pd.DataFrame(
        {"user.id": ids, "event.name": [levels[row % 4] for row in range(rows)], "event.time": days,
         "properties.amount": amounts}
    )  # fmt: skip
    return pd.concat([frame, pd.DataFrame([last])], ignore_index=True)


def first_row(spark: SparkSession, frame: pd.DataFrame, over: dict[str, Any] | None = None) -> dict[str, Any]:
    rows = build_owner_features(spark, declared(over or {}), {"Käufe": spark.createDataFrame(frame)})
    return {row["snapshot_date"]: row.asDict() for row in rows.collect()}[START]


def test_sums_beyond_nine_trillion_refunds_and_what_is_no_number(spark: SparkSession) -> None:
    amounts = [6e12, 5.5e12, -0.1, -1234.56, float("nan"), float("inf"), 0.3, 7e12]
    # A standard deviation is kept of amounts up to 1e12.
    groups = declared({}).model_dump(exclude_none=True)["groups"]
    del groups["all"]["measures"]["std"]
    label = {"source": "Käufe", "kind": "sum", "of": "`properties.amount` * 1e13", "horizon_days": 40,
             "filter": "`event.name` = 'buy'"}  # fmt: skip
    row = first_row(spark, events(amounts), {"groups": groups, "label": label})
    real = np.array([amount for amount in amounts if np.isfinite(amount)])
    assert row["all_sum_28d"] == pytest.approx(real.sum(), rel=1e-15)
    assert row["all_mean_28d"] == pytest.approx(real.mean(), rel=1e-15)
    assert row["label"] == 1e13
    # Levels that differ in signs alone have columns of their own; letters of any script stay.
    counted = {name: value for name, value in row.items() if name.startswith("level_")}
    assert sum(counted.values()) == len(amounts)
    assert len(counted) == 4 and "level_汽车_count_28d" in counted
    assert row["all_kinds_28d"] == 4


def test_std_of_large_amounts(spark: SparkSession) -> None:
    amounts = [1e11, 2e11, 3.5e11, -1e11]
    row = first_row(spark, events(amounts))
    assert row["all_std_28d"] == pytest.approx(np.std(amounts, ddof=1), rel=1e-12)


def test_whole_numbers_above_two_to_the_53_add_up_exactly(spark: SparkSession) -> None:
    frame = events([0, 0, 0]).astype({"properties.amount": "int64"})
    frame["properties.amount"] = [2**60 + 1, -(2**60), 1, 0]
    over = {"groups": {"all": {"source": "Käufe", "windows": [28], "measures": {
        "sum": {"aggregate": "sum", "of": "properties.amount"}}}}}  # fmt: skip
    with pytest.raises(Exception, match=r"errors.InputError: features: properties.amount passes 1e\+18"):
        first_row(spark, frame, over)
    frame["properties.amount"] = [2**58 + 1, -(2**58), 1, 0]
    assert first_row(spark, frame, over)["all_sum_28d"] == 2.0


def test_numpy_totals_that_could_wrap_are_found() -> None:
    rows = Rows(np.array([0, 0, 1]), np.array([0, 0, 0]), 2, 1)
    assert fits(rows, np.array([2**61, 2**60, 2**61]))
    assert not fits(rows, np.array([2**61, 2**61, 5]))


def test_times_of_every_form(spark: SparkSession) -> None:
    day = dt.date(2024, 1, 31)
    texts = [
        "2024-01-31",
        "2024-01-31T23:00:00Z",
        "31.1.2024",
        "2024/01/31",
        "20240131",
        "19753",
        "1706702400",
        "1706702400000",
    ]
    frame = spark.createDataFrame(
        [(text,) for text in [*texts, "2024", "202401", "2024-01", "nonsense", None]], "t string"
    )
    assert [row[0] for row in frame.select(day_of(frame, "t", None, None, "x")).collect()] == [day] * 8 + [None] * 5
    assert [row[0] for row in frame.select(months_in(frame, "t")).collect()].count(True) == 2
    whole = [20240131, 19753, 1706702400, 1706702400000, 1706702400000000, 1706702400000000000]
    numbers = spark.createDataFrame([(n,) for n in [*whole, 202401, 5_000_000]], "n bigint")
    found = [row[0] for row in numbers.select(day_of(numbers, "n", None, None, "x")).collect()]
    assert found == [day] * 6 + [None] * 2
    last = [row[0] for row in numbers.select(day_of(numbers, "n", None, "last", "x")).collect()]
    assert last == [day] * 7 + [None]
    assert [row[0] for row in numbers.select(day_of(numbers, "n", None, "first", "x")).collect()][6] == dt.date(
        2024, 1, 1
    )
    floats = spark.createDataFrame([(1706702400.25,), (3.5,)], "n double")
    assert [row[0] for row in floats.select(day_of(floats, "n", None, None, "x")).collect()] == [day, None]


def test_ids_meet_whatever_their_type(spark: SparkSession) -> None:
    frame = spark.sql(
        "SELECT 1465D d, CAST(1465 AS DECIMAL(38,10)) e, 1465L l, '001465' s, double('NaN') n, 9007199254740993D b"
    )
    found = frame.select(*(id_text(frame, name).alias(name) for name in "delsnb")).first()
    assert found is not None
    assert found.asDict() | {"b": ""} == {"d": "1465", "e": "1465", "l": "1465", "s": "001465", "n": None, "b": ""}
    assert frame.select(beyond_digits(frame, "b"), beyond_digits(frame, "d")).first() == (True, False)


def test_a_view_is_known_by_its_definition(spark: SparkSession, tmp_path: Path) -> None:
    from remedi_spark.config.sources import Location

    pd.DataFrame({f"c{i}": [1, 2] for i in range(40)}).to_parquet(tmp_path / "t.parquet")
    table = spark.read.parquet(str(tmp_path / "t.parquet"))
    names = [f"c{i}" for i in range(40)]

    def seen(last: str) -> Any:
        table.selectExpr(*names[:-1], f"{last} AS c39").createOrReplaceTempView("some_view")
        return fingerprint(spark, Location(table="some_view"), "x")

    try:
        assert seen("c39") == seen("c39")
        assert seen("c39") != seen("c39 + 1")
        spark.createDataFrame([(1,)], "a int").createOrReplaceTempView("some_view")
        memory = Location(table="some_view")
        assert fingerprint(spark, memory, "x") != fingerprint(spark, memory, "x")
    finally:
        spark.catalog.dropTempView("some_view")


def test_attributes_with_any_name_go_through_delta_and_a_refresh(spark: SparkSession, tmp_path: Path) -> None:
    frame = events([1.0, 2.0, 3.0, 4.0])
    (tmp_path / "events").mkdir()
    frame.to_parquet(tmp_path / "events" / "0.parquet")
    people = {"user.id": ["u1"], "Household size": [3], "Income (EUR)": [1.5], "a.b`c": ["x"], "Label": [7]}
    pq.write_table(pa.table(people), tmp_path / "people.parquet")
    over = {
        "attributes": {"crm": {"path": str(tmp_path / "people.parquet"), "columns": [*people][1:]}},
        "sources": {
            "Käufe": {"path": str(tmp_path / "events"), "event_time": "event.time", "contract": {"max_age_days": 60}}
        },
    }
    config = declared(over)
    tables = Tables(spark, str(tmp_path / "run"))
    features.run(tables, config, today=START + dt.timedelta(days=41))
    frame.assign(**{"event.time": START + dt.timedelta(days=50)}).to_parquet(tmp_path / "events" / "1.parquet")
    later = START + dt.timedelta(days=60)
    assert features.run(tables, config, today=later)["mode"] == "refresh"
    again = Tables(spark, str(tmp_path / "again"))
    features.run(again, config, today=later)
    key = ["owner_id", "snapshot_date"]
    one, other = (read_table(spark, each.location("owner_features")) for each in (tables, again))
    assert one.columns[-5:] == ["Household size", "Income (EUR)", "a.b`c", "crm.Label", "label"]
    assert one.columns == other.columns
    pd.testing.assert_frame_equal(
        one.toPandas().sort_values(key, ignore_index=True), other.toPandas().sort_values(key, ignore_index=True),
        check_exact=True,
    )  # fmt: skip
    stored = tables.read("feature_dictionary").select("name", "column").collect()
    assert {row["name"]: row["column"] for row in stored}["Household size"] == "Household_size"
    # The feed goes dead: nothing new, and the run says so.
    with pytest.raises(InputError, match="max_age_days"):
        features.run(tables, config, today=later + dt.timedelta(days=100))


def test_csv_ids_keep_their_zeros_on_both_sides(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_text("id,at,product\n001465,2024-03-01,007\n001465,2024-06-01,007\n")
    (tmp_path / "p.csv").write_text("product,group\n007,tea\n")
    (tmp_path / "a.csv").write_text("id,size\n001465,3\n")
    tree = {
        "entity": "id",
        "sources": {"e": {"path": str(tmp_path / "e.csv"), "event_time": "at", "joins": {
            "p": {"path": str(tmp_path / "p.csv"), "key": "product", "columns": ["group"]}}}},
        "attributes": {"a": {"path": str(tmp_path / "a.csv"), "columns": ["size"]}},
        "label": {"source": "e", "filter": "true"},
        "snapshots": {"start": START, "every_days": 28},
        "groups": {"tea": {"source": "e", "where": "`group` = 'tea'", "measures": {"n": {"aggregate": "count"}}}},
    }  # fmt: skip
    row = build_owner_features(spark, FeaturesConfig.model_validate(tree)).first()
    assert row is not None
    assert (row["owner_id"], row["tea_n_84d"], int(row["size"])) == ("001465", 1, 3)
