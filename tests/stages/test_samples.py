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
from remedi_spark.samples import stage as samples
from remedi_spark.samples.flat import FlatTable
from remedi_spark.storage.own_names import as_stored
from remedi_spark.storage.tables import Tables
from remedi_spark.storage.workspace import Workspace

DAYS = [dt.date(2026, month, 1) for month in (1, 2, 3)]


@pytest.fixture
def source(tmp_path: Path) -> FlatTable:
    rows = [(f"o{i}", day, float(i), i % 2 == 0) for day in DAYS for i in range(20)]
    frame = pd.DataFrame(rows, columns=["owner", "day", "visits", "bought"]).astype({"bought": int})
    frame = frame.assign(month=[day.month for day in frame["day"]])
    frame.to_parquet(tmp_path / "owners.parquet")
    return FlatTable(str(tmp_path / "owners.parquet"), "bought", "owner", "day")


def _config(first: dt.date) -> Config:
    return load_config(None, [f"evaluation.train_from={first}", "base_models.folds=2"])


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


@pytest.mark.parametrize(("chosen", "column"), [(None, "label"), ("big one", "label_big one")])
def test_the_label_that_is_named_is_learned_and_no_label_is_a_feature(
    spark: Any, tmp_path: Path, chosen: str | None, column: str
) -> None:
    labels = pd.DataFrame({"label": [i % 2 for i in range(40)], "label_big one": [int(i % 4 == 0) for i in range(40)]})
    frame = labels.assign(
        owner_id=[f"o{i}" for i in range(40)], snapshot_date=DAYS[0], visits=[i % 7 for i in range(40)]
    )
    tables = Tables(spark, str(tmp_path / "tables"))
    tables.overwrite(as_stored(spark.createDataFrame(frame)), "owner_features")
    event = {"source": "events", "filter": "true"}
    features = {
        "entity": "owner", "sources": {"events": {"path": "unused", "event_time": "at"}}, "label": event,
        "groups": {"all": {"source": "events", "measures": {"n": {"aggregate": "count"}}}},
        "labels": {"big one": event},
    }  # fmt: skip
    config = load_config(None, ["base_models.folds=2"], features=features, label=chosen)
    samples.from_owner_features(Workspace(tables, tmp_path / "model", False), config)
    found = tables.read("samples").toPandas().set_index("owner_id")
    assert found["label"].to_dict() == frame.set_index("owner_id")[column].to_dict()
    assert [name for name in found.columns if name.startswith("f")] == ["f0"], "visits alone"
    with pytest.raises(InputError, match=r"label: found 'bigone', expected a name of features.labels \(big one\)"):
        load_config(None, features=features, label="bigone")


def _flat(tmp_path: Path, name: str = "flat", **columns: Any) -> str:
    """Forty owners, every second one positive."""
    frame = pd.DataFrame({
        "owner": [f"o{i}" for i in range(40)], "visits": [float(i % 7) for i in range(40)],
        "bought": [i % 2 for i in range(40)], **columns,
    })  # fmt: skip
    frame.to_parquet(tmp_path / f"{name}.parquet")
    return str(tmp_path / f"{name}.parquet")


def _samples(spark: Any, source: FlatTable, folder: Path) -> Any:
    workspace = Workspace(Tables(spark, str(folder / "tables")), folder / "model", False)
    samples.run(workspace, source, load_config(None, ["base_models.folds=2"]))
    return workspace.tables.read("samples").toPandas().set_index("owner_id").sort_index(), workspace


@pytest.mark.parametrize("unit", [1 / 40, 1e6])
def test_the_unit_of_weights_means_nothing(spark: Any, tmp_path: Path, unit: float) -> None:
    """To the last bit, so that no fit can tell; rows of weight 0 count nowhere."""
    weights = [0.0 if i < 4 else 1.0 + i % 3 for i in range(40)]
    plain, _ = _samples(spark, FlatTable(_flat(tmp_path, w=weights), "bought", "owner", weight="w"), tmp_path / "a")
    scaled = [unit * weight for weight in weights]
    other, _ = _samples(
        spark, FlatTable(_flat(tmp_path, "b", w=scaled), "bought", "owner", weight="w"), tmp_path / "b"
    )  # fmt: skip
    assert (plain["weight"] == other["weight"]).all()
    assert len(plain) == 36
    assert plain["weight"].mean() == pytest.approx(1, abs=1e-6)


def test_test_rows_are_not_trained_on(spark: Any, tmp_path: Path) -> None:
    table = _flat(tmp_path)
    test = pd.read_parquet(table)
    more = pd.DataFrame({"owner": ["n1", "n2"], "visits": [1.0, 2.0], "bought": [0, 1]})
    pd.concat([test.iloc[:6], more]).to_parquet(tmp_path / "test.parquet")
    found, workspace = _samples(
        spark, FlatTable(table, "bought", "owner", test=str(tmp_path / "test.parquet")), tmp_path / "c"
    )  # fmt: skip
    assert len(found) == 42
    assert (found["source"] == "test").sum() == 8
    said = workspace.models("final").load("warnings")
    assert len(said) == 1
    assert said[0].startswith("6 rows of --test ")
    with pytest.raises(InputError, match=r"--test .* holds all 40 rows of --table"):
        _samples(spark, FlatTable(table, "bought", "owner", test=table), tmp_path / "d")


def test_too_few_positive_owners_are_refused_before_anything_is_written(spark: Any, tmp_path: Path) -> None:
    table = _flat(tmp_path, bought=[int(i < 9) for i in range(40)])
    with pytest.raises(InputError, match="6 positive owners to train on for 2 folds"):
        _samples(spark, FlatTable(table, "bought", "owner"), tmp_path / "e")
    assert not (tmp_path / "e").exists()
