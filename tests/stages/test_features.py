"""Stage 1 writes its tables, the same again on a rerun."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from remedi_spark.config.features import FeaturesConfig
from remedi_spark.errors import InputError
from remedi_spark.features import stage as features
from remedi_spark.features.dictionary import phrases
from remedi_spark.report.queries import sources_read
from remedi_spark.storage.tables import Tables

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def write_shop(folder: Path) -> None:
    """An installed package 'tiny_shop' with 20 customers who buy on every 4th to 23rd day of 100."""
    rows = [
        {"customer": owner, "at": pd.Timestamp("2024-01-01 12:00") + pd.Timedelta(days=day), "product": day % 3}
        for owner in range(20)
        for day in range(owner % 4, 100, 4 + owner)
    ]
    rows.append({"customer": None, "at": pd.Timestamp("2024-01-05"), "product": 1})
    data = folder / "tiny_shop" / "data"
    data.mkdir(parents=True)
    (folder / "tiny_shop" / "__init__.py").touch()
    events = pd.DataFrame(rows).astype({"customer": "Int64", "at": "datetime64[us]"})
    events.to_parquet(data / "sales.parquet")
    pd.DataFrame({"product": [0, 1, 2], "category": ["TEA", "MILK", "SOAP"]}).to_parquet(data / "products.parquet")
    pd.DataFrame({"customer": range(5), "region": list("nnsse")}).to_parquet(data / "people.parquet")


def shop(**label: Any) -> FeaturesConfig:
    tree = {
        "entity": "customer",
        "sources": {
            "events": {
                "package": "tiny_shop/data/sales.parquet",
                "event_time": "at",
                "joins": {
                    "products": {
                        "package": "tiny_shop/data/products.parquet",
                        "key": "product",
                        "columns": ["category"],
                    }
                },
            }
        },
        "attributes": {"owner_attributes": {"package": "tiny_shop/data/people.parquet", "columns": ["region"]}},
        "windows": [14],
        "groups": {
            "tea": {
                "source": "events",
                "where": "category = {category}",
                "called": ["purchase of {category}", "purchases of {category}"],
                "measures": {"count": {"aggregate": "count"}, "last": {"aggregate": "days_since_last"}},
            }
        },
        "label": {"source": "events", "column": "category", "category": "TEA", "horizon_days": 14} | label,
        "snapshots": {"start": "2024-02-01", "every_days": 10},
    }
    return FeaturesConfig.model_validate(tree)


@pytest.fixture
def tables(spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tables:
    write_shop(tmp_path / "site")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.delitem(sys.modules, "tiny_shop", raising=False)
    return Tables(spark, str(tmp_path / "run"))


def test_the_stage_writes_its_tables_and_can_run_again(tables: Tables) -> None:
    summary = features.run(tables, shop())
    first = tables.read("owner_features").toPandas()
    again = features.run(tables, shop())
    second = tables.read("owner_features").toPandas()

    key = ["owner_id", "snapshot_date"]
    pd.testing.assert_frame_equal(*(frame.sort_values(key, ignore_index=True) for frame in (first, second)))
    assert (summary.pop("mode"), again.pop("mode")) == ("full", "unchanged")
    assert summary | {"seconds": 0} == again | {"seconds": 0}
    assert summary["rows"] == len(first)
    assert summary["positives"] == first["label"].sum()
    assert summary["labelled"] == first["label"].notna().sum() == len(first) - 20
    assert summary["snapshots"] == 7  # six with a label (1 Feb … 22 Mar: 14 days fit before 9 April), and 1 April
    assert summary["quarantined"] == 1
    assert "tiny_shop" not in sys.modules


def test_the_report_tells_what_was_read_and_set_aside(tables: Tables) -> None:
    assert sources_read(tables) == [], "features that came ready made"
    features.run(tables, shop())
    found = {one.name: one for one in sources_read(tables)}
    assert found["events"].quarantined == 1
    assert found["events"].rows == tables.read("events").count()
    assert (found["owner_attributes"].rows, found["owner_attributes"].quarantined) == (5, 0)


def test_the_dictionary_describes_every_column(tables: Tables) -> None:
    features.run(tables, shop())
    frame = tables.read("owner_features")
    entries = {row["name"]: row for row in tables.read("feature_dictionary").collect()}
    assert frame.columns == ["owner_id", "snapshot_date", *entries]
    assert entries["tea_count_14d"]["window"] == "14 days"
    assert "category = 'TEA'" in entries["tea_count_14d"]["meaning"]
    said = phrases(tables.read("feature_dictionary"))
    assert said["tea_count_14d"]["many"] == "{value} purchases of 'TEA' in the last 14 days"
    assert said["tea_last"]["none"] == "no purchase of 'TEA' known yet"
    assert said["region"]["many"] == "region is {value}"
    comments = {field.name: field.metadata.get("comment", "") for field in frame.schema}
    assert comments["tea_last"].startswith("days since the latest of events with category = 'TEA'")
    assert {type(field.dataType).__name__ for field in frame.schema if field.name == "label"} == {"IntegerType"}


def test_nothing_is_written_when_the_category_is_unknown(tables: Tables) -> None:
    with pytest.raises(InputError, match="no event has category = 'TEE'; did you mean 'TEA'"):
        features.run(tables, shop(category="TEE"))
    assert not tables.exists("owner_features")
    assert not tables.exists("feature_dictionary")


def test_a_missing_package_says_how_to_install_it(spark: SparkSession, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="package 'tiny_shop' is not installed; pip install tiny-shop"):
        features.run(Tables(spark, str(tmp_path)), shop())


def test_a_dimension_key_that_is_not_unique_is_refused(tables: Tables, tmp_path: Path) -> None:
    products = pd.DataFrame({"product": [0, 1, 1], "category": ["TEA", "MILK", "SOAP"]})
    products.to_parquet(tmp_path / "site" / "tiny_shop" / "data" / "products.parquet")
    with pytest.raises(InputError, match=r"joins\.products\.key: 1 values of product have several rows"):
        features.run(tables, shop())
