"""``verify`` reads nested columns by hand: a fault of how the build reads them is found."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from pyspark.sql import functions as F

from remedi_spark.config.features import FeaturesConfig
from remedi_spark.config.sources import Source
from remedi_spark.features import nested
from remedi_spark.features import stage as features
from remedi_spark.features.nested import with_nested
from remedi_spark.features.nested_by_hand import nested_by_hand
from remedi_spark.features.verify import verify
from remedi_spark.storage.tables import Tables

if TYPE_CHECKING:
    from pyspark.sql import Column, SparkSession

SCHEMA = "owner int, body struct<items: array<struct<price: double>>, tags: map<string, string>>, payload string"


def source(**declared: Any) -> Source:
    return Source.model_validate({"path": "unused", "event_time": "at", "nested": declared})


@pytest.mark.parametrize(
    "declared",
    [
        {"price": {"path": "body.items[1].price"}, "page": {"path": "body.tags.page"}, "all": {"path": "body.items"}},
        {"net": {"path": "payload.total.net", "type": "double"}, "kind": {"path": "payload.lines[1].kind"}},
        {"n": {"path": "payload.a b", "type": "int"}, "total": {"path": "payload.total"}, "no": {"path": "payload.no"}},
        {"item": {"explode": "body.items"}, "price": {"path": "item.price"}, "page": {"path": "body.tags.page"}},
        {"line": {"explode": "payload.lines"}, "kind": {"path": "line.kind"}, "whole": {"path": "line"}},
    ],
)
def test_both_ways_read_the_same(spark: SparkSession, declared: dict[str, Any]) -> None:
    payload = json.dumps({"total": {"net": "7.5"}, "lines": [{"kind": "tea"}, {"kind": 2.50}, {}, 7, None], "a b": 1})
    log = spark.createDataFrame(
        [(1, ([(2.5,), (4.0,), None], {"page": "home"}), payload), (2, ([], {}), '{"total": {"net": "dear"}}'),
         (3, None, "no json"), (4, None, None),
         (5, ([(1.0,)], None), '{"lines": {"kind": "x"}, "a b": "x", "no": {}}')],
        SCHEMA,
    )  # fmt: skip
    both = [way(log, source(**declared), "features.sources.s") for way in (with_nested, nested_by_hand)]
    assert both[0].dtypes == both[1].dtypes
    rows = [sorted(map(repr, frame.drop("body", "payload").collect())) for frame in both]
    assert rows[0] == rows[1]


@pytest.mark.slow
def test_a_fault_of_the_build_is_found(spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    days = pd.date_range("2024-01-01", periods=60, unit="us", tz="UTC")
    lines = [json.dumps({"lines": [{"price": n}, {"price": n + 0.5}, {"price": None}][: 1 + n % 3]}) for n in range(60)]
    pd.DataFrame({"owner": [n % 4 for n in range(60)], "at": days, "payload": lines}).to_parquet(
        tmp_path / "log.parquet"
    )
    config = FeaturesConfig.model_validate(
        {
            "entity": "owner",
            "sources": {
                "lines": {
                    "path": str(tmp_path / "log.parquet"),
                    "event_time": "at",
                    "nested": {"line": {"explode": "payload.lines"}, "price": {"path": "line.price", "type": "double"}},
                }
            },
            "windows": ["ever"],
            "groups": {
                "all": {
                    "source": "lines",
                    "measures": {"n": {"aggregate": "count"}, "spend": {"aggregate": "sum", "of": "price"}},
                },
                "dear": {"source": "lines", "where": "price > 30", "measures": {"n": {"aggregate": "count"}}},
            },
            "label": {"source": "lines", "filter": "price > 20", "horizon_days": 5},
            "snapshots": {"start": "2024-01-20", "every_days": 20},
        }
    )
    tables = Tables(spark, str(tmp_path / "run"))
    features.run(tables, config, today=dt.date(2024, 3, 1))
    found = verify(tables, config, sample=10)
    assert not found.differing, found.in_words()
    assert found.owners == 4
    sound = nested._places

    def but_the_last(*given: Any) -> Column:
        whole = sound(*given)
        return F.when(F.size(whole) > 2, F.slice(whole, 2, 9)).otherwise(whole)

    monkeypatch.setattr(nested, "_places", but_the_last)
    features.run(tables, config, today=dt.date(2024, 3, 1), force=True)
    assert {"all_n_ever", "all_spend_ever"} <= {one.feature for one in verify(tables, config, sample=10).differing}
