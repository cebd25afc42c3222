"""CSV as people bring it: what each column is follows from all of its values, and in doubt it is text."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from remedi_spark.errors import InputError
from remedi_spark.reading.csv_text import csv_form, header_of
from remedi_spark.reading.csv_types import BOOLEAN, DATE, DECIMAL_COMMA, DIGITS, INTEGER, MARK, OTHER, REAL, THOUSANDS
from remedi_spark.reading.csv_types import type_of as column_type
from remedi_spark.samples.schema import Feature, FeatureContract, infer_features
from remedi_spark.storage.tables import read_table

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

COLUMNS = {
    "whole": (["1", "-20", "0"], "number"), "real": (["1.5", "2e3", ""], "number"),
    "gaps": (["7", "NA", "-"], "number"),
    "zip": (["01465", "10115", "99999"], "category"), "tariff": (["1D", "2F", "3D"], "category"),
    "account": (["12345678901234567", "1", "2"], "category"), "clock": (["13:45", "08:00", "23:59"], "category"),
    "mixed": (["1", "2", "A3"], "category"), "truth": (["True", "false", "TRUE"], "boolean"),
    "day": (["2026-01-31", "9999-12-31", "0001-01-01"], "date"),
    "moment": (["2026-01-31 12:30:00", "2026-01-31T12:30:00.5Z", "2026-02-01"], "timestamp"),
    "no day": (["2026-02-30", "2026-01-01", "2026-01-02"], "category"), "Case": (["x", "y", "z"], "category"),
    "case": (["1", "2", "3"], "number"), "code": (["NA", "DE", "FR"], "category"),
    "nächster [x], `y`": (["a, b", 'say "x"', "two\nlines"], "category"),
}  # fmt: skip


def _frame() -> pd.DataFrame:
    return pd.DataFrame({name: values for name, (values, _) in COLUMNS.items()})


def _read(spark: SparkSession, path: Path) -> tuple[Any, FeatureContract]:
    frame = read_table(spark, str(path))
    features, unusable = infer_features(frame, [])
    assert not unusable
    return frame, FeatureContract(tuple(features))


def test_every_column_is_what_all_its_values_are(spark: SparkSession, tmp_path: Path) -> None:
    _frame().to_csv(tmp_path / "t.csv", index=False)
    frame, contract = _read(spark, tmp_path / "t.csv")
    assert {one.name: one.kind for one in contract.features} == {name: kind for name, (_, kind) in COLUMNS.items()}
    trained = frame.select(*contract.select(frame, table="t")).toPandas()
    again = read_table(spark, str(tmp_path / "t.csv"), as_text=contract.names)
    scored = again.select(*contract.select(again, table="t", text=True)).toPandas()
    pd.testing.assert_frame_equal(trained, scored)
    for options in ({}, {"dtype": str}, {"dtype": str, "keep_default_na": False}):
        found = pd.read_csv(tmp_path / "t.csv", **options)
        if not options:  # pandas has taken the zeros of "01465"
            with pytest.raises(InputError, match=r"'zip' is of type int64.*leading zeros.*dtype=\{'zip': str\}"):
                contract.canonical(found)
            found = pd.read_csv(tmp_path / "t.csv", dtype={"zip": str, "account": str})
        pd.testing.assert_frame_equal(trained, contract.canonical(found), check_dtype=False)


@pytest.mark.parametrize("form", ["semicolon", "tab", "bom", "windows-1252", "utf-16", "gz", "carriage return"])
def test_forms_of_a_file(spark: SparkSession, tmp_path: Path, form: str) -> None:
    text = "id;größe;n\r\n007;1,5;1\r\n008;1.234,25;-\r\n009;-2;3\r\n"
    name, data = "t.csv", text.encode()
    if form == "tab":
        name, data = "t.tsv", text.replace(";", "\t").encode()
    if form == "bom":
        data = text.encode("utf-8-sig")
    if form in ("windows-1252", "utf-16"):
        data = text.encode(form)
    if form == "gz":
        name, data = "t.csv.gz", gzip.compress(data, mtime=0)
    if form == "carriage return":
        data = text.replace("\r\n", "\r").encode()
    (tmp_path / name).write_bytes(data)
    frame, contract = _read(spark, tmp_path / name)
    assert frame.columns == ["id", "größe", "n"]
    assert sorted(tuple(row) for row in frame.collect()) == [
        ("007", 1.5, 1.0),
        ("008", 1234.25, None),
        ("009", -2.0, 3.0),
    ]
    assert contract.features[1].decimal == ","
    pandas = pd.DataFrame({"id": ["007"], "größe": ["1.234,25"], "n": ["-"]})
    assert contract.canonical(pandas)["f1"].tolist() == [1234.25]


def test_the_schema_of_training_decides(spark: SparkSession, tmp_path: Path) -> None:
    contract = FeatureContract((Feature("level", "category", text="kept"), Feature("n", "number")))
    (tmp_path / "b.csv").write_text("level,n\n7,1\n12,?\n")
    frame = read_table(spark, str(tmp_path / "b.csv"), as_text=contract.names)
    found = frame.select(*contract.select(frame, table="b", text=True)).toPandas()
    assert found["f0"].tolist() == ["7", "12"]
    for pandas in (pd.read_csv(tmp_path / "b.csv"), pd.DataFrame({"level": [7.0, 12.0], "n": [1, None]})):
        pd.testing.assert_frame_equal(found, contract.canonical(pandas), check_dtype=False)
    (tmp_path / "b.csv").write_text("level,n\n7,1D\n12,x\n")
    frame = read_table(spark, str(tmp_path / "b.csv"), as_text=contract.names)
    with pytest.raises(InputError, match="feature 'n' is text that is no number in 2 rows"):
        contract.select(frame, table="b", text=True)


def test_a_folder_of_csv_files_without_an_ending(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    for number in (1, 2):
        (tmp_path / "parts" / f"{number}.csv").write_text(f"id,n\n0{number},{number}\n")
    assert sorted(tuple(row) for row in read_table(spark, str(tmp_path / "parts")).collect()) == [("01", 1), ("02", 2)]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("t.csv", b"", "the file is empty"), ("t.csv", b"PK\x03\x04x", "is a zip archive"),
        ("t.csv", gzip.compress(b"a,b\n1,2\n", mtime=0), "rename it to .csv.gz"),
        ("t.csv.gz", b"a,b\n1,2\n", "is not compressed"),
        ("t.csv.gz", gzip.compress(b"a,b\n1,2\n" * 99, mtime=0)[:-12], "cannot be read"),
        ("t.csv", b"PAR1rest", "is a Parquet file, not CSV"), ("t.csv", b"a,b\n\x81\xff,1\n", "neither UTF-8 nor"),
        ("t.csv", b"a,b,a\n1,2,3\n", "2 columns named 'a'"), ("t.csv", b"a,b\x00\n1,2\n", "zero bytes"),
    ],
)  # fmt: skip
def test_what_is_no_csv_is_one_line(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=message) as raised:
        csv_form("t", [tmp_path / name])
    assert str(tmp_path / name) in str(raised.value)


def test_rows_longer_than_the_header_are_counted(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n1,2\n1,2,3\n4\n")
    with pytest.raises(InputError, match="1 rows have more fields than the header's 2"):
        read_table(spark, str(tmp_path / "t.csv"))


def test_types_follow_from_forms() -> None:
    kinds = {
        INTEGER: "bigint", INTEGER | MARK: "double", REAL | THOUSANDS: "double", INTEGER | DIGITS: "string",
        DECIMAL_COMMA | INTEGER: "string", BOOLEAN | MARK: "boolean", DATE | OTHER: "string", MARK: "string",
        0: "string",
    }  # fmt: skip
    assert {forms: column_type(forms, comma=False).name for forms in kinds} == kinds
    german = column_type(DECIMAL_COMMA | THOUSANDS, comma=True)
    assert (german.name, german.comma) == ("double", True)
    assert column_type(DECIMAL_COMMA | REAL, comma=True).name == "string"


def test_separators_and_names() -> None:
    assert header_of('"a;b",c\n1,2\n', "t") == (",", ("a;b", "c"))
    assert header_of("Name, Vorname;n\nX, Y;1\nZ;2\n", "t") == (";", ("Name, Vorname", "n"))
    assert header_of(",a,b\n0,1,2\n", "t")[1] == ("Unnamed: 0", "a", "b"), "as pandas calls the index that it wrote"
    written = io.StringIO()
    pd.DataFrame({"a": [1]}).to_csv(written)
    assert header_of(written.getvalue(), "t")[1] == ("Unnamed: 0", "a")
