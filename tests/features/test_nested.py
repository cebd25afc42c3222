"""Columns from inside structs, arrays, maps and JSON text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from remedi_spark.config.sources import Source
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


def test_an_array_becomes_one_event_a_place(log: DataFrame) -> None:
    """Of structs and of JSON text; rows without a place are gone, and other paths lead into it."""
    declared = source(item={"explode": "body.items"}, price={"path": "item.price"}, page={"path": "body.tags.page"})
    found = sorted((r.owner, r.price, r.page) for r in with_nested(log, declared, "features.sources.events").collect())
    assert found == [(1, 2.5, "home"), (1, 4.0, "home")]
    declared = source(line={"explode": "payload.lines"}, kind={"path": "line.kind"})
    check_json(log, declared, "features.sources.events")
    rows = with_nested(log, declared, "features.sources.events").collect()
    assert sorted((row.owner, row.kind) for row in rows) == [(1, "cup"), (1, "tea")]
    whole = log.sparkSession.createDataFrame(
        [(1, '["2", "x"]'), (2, "[]"), (3, "{}"), (4, None)], "owner int, n string"
    )
    rows = with_nested(whole, source(number={"explode": "n", "type": "int"}), "features.sources.events").collect()
    assert [(row.owner, row.number) for row in rows] == [(1, 2), (1, None)]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("owner", r"nested.x.explode: 'owner' is of type int, expected an array, or JSON text with one"),
        ("body.tags", r"nested.x.explode: 'body.tags' is of type map<string,string>, expected an array"),
        ("payload.total", r"nested.x.explode: 'payload.total' is an array in none of 3 rows.* keys a b, lines, total"),
    ],
)
def test_what_is_no_array_is_one_line(log: DataFrame, path: str, message: str) -> None:
    declared = source(x={"explode": path})
    with pytest.raises(InputError, match=message):
        with_nested(log, declared, "features.sources.events")
        check_json(log, declared, "features.sources.events")


def test_one_array_is_exploded(log: DataFrame) -> None:
    for nested, message in (
        ({"x": {"explode": "a"}, "y": {"explode": "b"}}, "x and y explode an array each; expected one"),
        ({"x": {"explode": "a", "path": "b"}}, "give exactly one of 'path'"),
    ):
        with pytest.raises(ValueError, match=message):
            source(**nested)


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
