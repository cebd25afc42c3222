"""Columns from inside structs, arrays, maps and JSON text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from remedi_spark.config.features import Source
from remedi_spark.errors import InputError
from remedi_spark.features.nested import check_json, with_nested

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

SCHEMA = "owner int, body struct<items: array<struct<price: double>>, tags: map<string, string>>, payload string"


@pytest.fixture(scope="module")
def log(spark: SparkSession) -> DataFrame:
    payload = json.dumps({"total": {"net": "7.5"}, "lines": [{"kind": "tea"}, {"kind": "cup"}], "a b": 1})
    return spark.createDataFrame(
        [(1, ([(2.5,), (4.0,)], {"page": "home"}), payload), (2, ([], {}), '{"total": {"net": "dear"}}'),
         (3, None, "no json"), (4, None, None)],
        SCHEMA,
    )  # fmt: skip


def source(**nested: Any) -> Source:
    return Source.model_validate({"path": "unused", "event_time": "at", "nested": nested})


def test_paths_of_every_kind(log: DataFrame) -> None:
    declared = source(
        price={"path": "body.items[1].price"}, page={"path": "body.tags.page"},
        net={"path": "payload.total.net", "type": "double"}, second={"path": "payload.lines[1].kind"},
        spaced={"path": "payload.a b", "type": "int"},
    )  # fmt: skip
    check_json(log, declared, "features.sources.events")
    rows = with_nested(log, declared, "features.sources.events").orderBy("owner").collect()
    found = [(row.price, row.page, row.net, row.second, row.spaced) for row in rows]
    assert found == [(4.0, "home", 7.5, "cup", 1), *[(None,) * 5] * 3]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("payload.totl", r"nested.x.path: 'payload.totl' is in none of 3 rows; did you mean 'total'.* keys a b, lines"),
        ("body.itms", r"nested.x.path: no field 'itms'; did you mean 'items'"),
        ("owner.x", "'x' is inside of type int, expected a struct"),
        ("bdy.items", "no column 'bdy'; did you mean 'body'"),
        ("body..x", "is no path"),
    ],
)
def test_a_path_that_is_not_there_is_one_line(log: DataFrame, path: str, message: str) -> None:
    declared = source(x={"path": path})
    with pytest.raises(InputError, match=message):
        with_nested(log, declared, "features.sources.events")
        check_json(log, declared, "features.sources.events")


def test_a_name_that_is_taken_is_one_line(log: DataFrame) -> None:
    with pytest.raises(InputError, match=r"nested: \['owner'\] are columns of the events already"):
        with_nested(log, source(owner={"path": "body.tags"}), "features.sources.events")
