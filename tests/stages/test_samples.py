"""Which rows of a feature table enter the chain."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from remedi_spark.config import Config, load_config
from remedi_spark.errors import InputError
from remedi_spark.sources.flat import FlatTable
from remedi_spark.spark.tables import Tables
from remedi_spark.stages import samples
from remedi_spark.workspace import Workspace

DAYS = [dt.date(2026, month, 1) for month in (1, 2, 3)]


@pytest.fixture
def source(tmp_path: Path) -> FlatTable:
    rows = [(f"o{i}", day, float(i), i % 5 == 0) for day in DAYS for i in range(20)]
    frame = pd.DataFrame(rows, columns=["owner", "day", "visits", "bought"]).astype({"bought": int})
    frame = frame.assign(month=[day.month for day in frame["day"]])
    frame.to_parquet(tmp_path / "owners.parquet")
    return FlatTable(str(tmp_path / "owners.parquet"), "bought", "owner", "day")


def _config(first: dt.date) -> Config:
    return load_config(None, [f"evaluation.train_from={first}"])


def _run(spark: Any, source: FlatTable, first: dt.date, folder: Path) -> list[dt.date]:
    workspace = Workspace(Tables(spark, str(folder / "tables")), folder / "model", False)
    samples.run(workspace, source, _config(first))
    return [row[0] for row in workspace.tables.read("samples").select("snapshot_date").collect()]


def test_training_begins_where_it_is_told_to(spark: Any, source: FlatTable, tmp_path: Path) -> None:
    found = _run(spark, source, DAYS[1], tmp_path)
    assert {day: found.count(day) for day in set(found)} == {DAYS[1]: 20, DAYS[2]: 20}


@pytest.mark.parametrize(
    ("over", "first", "said"),
    [
        ({"time": None}, DAYS[1], "no time column"),
        ({"time": "month"}, DAYS[1], "of type bigint, expected a date"),
    ],
)
def test_what_has_no_such_day_is_refused(
    spark: Any, source: FlatTable, tmp_path: Path, over: dict[str, Any], first: dt.date, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        _run(spark, replace(source, **over), first, tmp_path)


def test_a_first_day_after_all_rows_is_refused(spark: Any, source: FlatTable, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="later than every day"):
        _run(spark, source, dt.date(2027, 1, 1), tmp_path)
