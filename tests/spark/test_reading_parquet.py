"""Parquet as pandas, pyarrow and others write it: read whole, or one line that names the column."""

from __future__ import annotations

import datetime as dt
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from remedi_spark.errors import InputError
from remedi_spark.samples.schema import FeatureContract, infer_features
from remedi_spark.storage.tables import read_table

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

IDS = [uuid.UUID(int=7), uuid.UUID(int=2**127)]


def _rows(spark: SparkSession, path: Path, **options: Any) -> list[tuple[Any, ...]]:
    return sorted((tuple(row) for row in read_table(spark, str(path), **options).collect()), key=str)


def test_types_that_spark_refuses_by_name_are_read(
    spark: SparkSession, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = pa.table({
        "nanoseconds": pa.array([1_500, -1], pa.timestamp("ns")),
        "zoned": pa.array([1_500, -1], pa.timestamp("ns", "Asia/Tokyo")),
        "uuid": pa.array([one.bytes for one in IDS], pa.uuid()),
        "unsigned": pa.array([2**64 - 1, 0], pa.uint64()),
        "day": pa.array([dt.date(1, 1, 1), dt.date(9999, 12, 31)]),
        "old": pa.array([dt.datetime(1899, 12, 30), dt.datetime(1, 1, 1)], pa.timestamp("us")),
        "level": pa.array(["a", "b"]).dictionary_encode(),
        "bytes": pa.array(["Ö".encode(), b"x"]),
        "nothing": pa.nulls(2),
        "time": pa.array([0, 1], pa.time64("us")),
        "nested": pa.array([[1], [2]]),
        "odd names": pa.array([{"a b": 1, "0": 2}] * 2),
    })  # fmt: skip
    pq.write_table(table, tmp_path / "odd [1] {a}*.parquet")
    with caplog.at_level("WARNING", "remedi"):
        frame = read_table(spark, str(tmp_path / "odd [1] {a}*.parquet"))
    assert "time (time64[us]), odd names (struct<" in caplog.text, "left out by name"
    features, unusable = infer_features(frame, [])
    assert unusable == ["nothing", "nested"]
    assert {one.name: one.kind for one in features} == {
        "nanoseconds": "timestamp", "zoned": "timestamp", "uuid": "category", "unsigned": "number", "day": "date",
        "old": "timestamp", "level": "category", "bytes": "category",
    }  # fmt: skip
    contract = FeatureContract(tuple(features))
    spark_rows = frame.select(*contract.select(frame, table="t")).toPandas()
    pandas_rows = contract.canonical(table.to_pandas(timestamp_as_object=True).assign(uuid=[str(one) for one in IDS]))
    pd.testing.assert_frame_equal(spark_rows, pandas_rows, check_dtype=False)
    with pytest.raises(InputError, match=r"column 'time' is of type time64\[us\], which cannot be read; write it as"):
        read_table(spark, str(tmp_path / "odd [1] {a}*.parquet"), roles=["time"])


def test_what_spark_cannot_open_at_all_is_read_by_pyarrow(spark: SparkSession, tmp_path: Path) -> None:
    table = pa.table({
        "half": pa.array(np.array([0.5, 1.5, np.nan], dtype="float16"), from_pandas=True), "id": ["a", "b", "c"],
        "ID": [1, 2, 3], "when": pa.array([1_999, -1, None], pa.timestamp("ns")),
        "long": pa.array([1, 2, 3], pa.decimal256(50, 2)), "uuid": pa.array([IDS[0].bytes, None, None], pa.uuid()),
        "nothing": pa.nulls(3),
    })  # fmt: skip
    (tmp_path / "t" / "region=07").mkdir(parents=True)
    pq.write_table(table, tmp_path / "t" / "region=07" / "part.parquet", row_group_size=2)
    frame = read_table(spark, str(tmp_path / "t"), roles=["ID"])
    assert frame.columns == ["half", "id (2)", "ID", "when", "long", "uuid", "nothing", "region"]
    rows = sorted((tuple(row) for row in frame.collect()), key=lambda row: row[2])
    assert [row[0] for row in rows] == [0.5, 1.5, None]
    assert [row[3] for row in rows] == [
        dt.datetime(1970, 1, 1, 0, 0, 0, 1),
        dt.datetime(1969, 12, 31, 23, 59, 59, 999999),
        None,
    ]
    assert [row[4:] for row in rows] == [
        (1.0, str(IDS[0]), None, "07"),
        (2.0, None, None, "07"),
        (3.0, None, None, "07"),
    ]
    features, _ = infer_features(frame, ["ID"])
    assert [one.name for one in features][:3] == ["half", "id", "when"], "the user's names outside"
    contract = FeatureContract(tuple(features))
    found = frame.select("ID", *contract.select(frame, table="t")).toPandas().sort_values("ID")
    assert found["f1"].tolist() == contract.canonical(table.to_pandas().assign(region="07", uuid="x"))["f1"].tolist()


def test_folders_of_files_of_many_writers(spark: SparkSession, tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"id": ["a", "b", "c"], "n": [1.0, None, 3.0], "zip": ["07", "08", "10"], "year": [2025, 2025, 2026]}
    )
    frame.to_parquet(tmp_path / "parts", partition_cols=["zip", "year"])
    (tmp_path / "parts" / "_SUCCESS").touch()
    (tmp_path / "parts" / "README.txt").write_text("not data")
    assert _rows(spark, tmp_path / "parts") == [("a", 1.0, "07", 2025), ("b", None, "08", 2025), ("c", 3.0, "10", 2026)]
    (tmp_path / "mixed").mkdir()
    pd.DataFrame({"id": ["a"], "n": [1]}).to_parquet(tmp_path / "mixed" / "1.parquet")
    pd.DataFrame({"n": [0.5], "id": ["b"], "more": ["x"]}).to_parquet(tmp_path / "mixed" / "2.parquet")
    assert _rows(spark, tmp_path / "mixed") == [("a", 1.0, None), ("b", 0.5, "x")]
    pd.DataFrame({"id": ["c"], "n": ["x"]}).to_parquet(tmp_path / "mixed" / "3.parquet")
    with pytest.raises(InputError, match=r"column 'n' is of type double in 1\.parquet and of type string"):
        read_table(spark, str(tmp_path / "mixed"))


@pytest.mark.parametrize("named", [False, True])
def test_the_index_of_a_frame_is_no_feature(
    spark: SparkSession, tmp_path: Path, named: bool, caplog: pytest.LogCaptureFixture
) -> None:
    frame = pd.DataFrame({"x": [1.0, 2.0]}, index=pd.Index([5, 3], name="row" if named else None))
    frame.to_parquet(tmp_path / "t.parquet")
    name = "row" if named else "__index_level_0__"
    with caplog.at_level("WARNING", "remedi"):
        features, _ = infer_features(read_table(spark, str(tmp_path / "t.parquet")), [])
    assert [one.name for one in features] == ["x"]
    assert f"column {name!r} left out: it is the index of a pandas frame" in caplog.text
    kept = read_table(spark, str(tmp_path / "t.parquet"), roles=[name])
    assert name in kept.columns, "an index may be the id"


def test_a_file_that_is_not_what_its_name_says(spark: SparkSession, tmp_path: Path) -> None:
    pd.DataFrame({"x": range(1000)}).to_parquet(tmp_path / "good.parquet")
    whole = (tmp_path / "good.parquet").read_bytes()
    broken = {
        "zip": (b"PK\x03\x04rest", "is a zip archive"), "csv": (b"a,b\n1,2\n", "is text, perhaps CSV, not Parquet"),
        "empty": (b"", "the file is empty"), "cut": (whole[:-100], "is cut off"),
        "footer": (whole[:-200] + b"x" * 196 + b"PAR1", "cannot be read as Parquet"),
    }  # fmt: skip
    for name, (content, message) in broken.items():
        (tmp_path / f"{name}.parquet").write_bytes(content)
        with pytest.raises(InputError, match=message) as raised:
            read_table(spark, str(tmp_path / f"{name}.parquet"))
        assert f"{name}.parquet" in str(raised.value)
    (tmp_path / "_hidden.parquet").write_bytes(whole)
    with pytest.raises(InputError, match=r"begins with '_'.*rename it"):
        read_table(spark, str(tmp_path / "_hidden.parquet"))
