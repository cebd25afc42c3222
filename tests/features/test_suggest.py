"""A suggested configuration runs as it is, and a log that it cannot be drawn from is one line."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from naive_features import make_events

from remedi_spark.config.features import FeaturesConfig
from remedi_spark.errors import InputError
from remedi_spark.features.build import build_owner_features
from remedi_spark.features.profile import ColumnProfile, Profile
from remedi_spark.features.suggest import Label, suggest
from remedi_spark.features.suggested_yaml import suggested_yaml

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("suggest") / "log.parquet"
    events = make_events(rows=600).rename(columns={"owner": "customer_id", "arrived": "received_at", "item": "item_id"})
    events["line"] = events["kind"].map({"a": "x", "b c": "x", "d": "y"}) + (events["item_id"] % 3).astype(str)
    events["part"] = events["kind"].eq("d").map({True: "late", False: "early"})
    times = dict.fromkeys(("at", "received_at"), "datetime64[us]")
    events.astype(times).to_parquet(path)
    return str(path)


def test_the_draft_runs_as_it_is(spark: SparkSession, log: str) -> None:
    text = suggest(spark, log, label="kind=b c")
    declared = FeaturesConfig.model_validate(yaml.safe_load(text)["features"])
    assert (declared.entity, declared.sources["events"].event_time) == ("customer_id", "at")
    assert declared.sources["events"].arrival_time == "received_at"
    assert declared.label.category == "b c"
    assert {"total", "category", "weekday", "by_part"} <= set(declared.groups)
    assert declared.groups["total"].measures["amount_sum"].of == "amount"
    rows = build_owner_features(spark, declared)
    counted = rows.selectExpr("count(*)", "count(label)", "sum(category_count_28d)").collect()[0]
    assert min(counted) > 0
    assert all("#" in line for line in text.splitlines() if line.startswith("    ") and line.rstrip().endswith("?"))


@pytest.mark.parametrize("span", [10, 60, 400])
def test_every_draft_is_valid(span: int) -> None:
    columns = (
        ColumnProfile("Product Code", number=False, distinct=900, negative=0, null_share=0.0),
        ColumnProfile("kind of: thing", number=False, distinct=40, negative=0, null_share=0.0),
        ColumnProfile("Qty", number=True, distinct=300, negative=12, null_share=0.1),
    )
    first = dt.date(2024, 1, 1)
    found = Profile(1000, 100, first, first + dt.timedelta(days=span - 1), 9.0, columns)
    for label in (None, Label("kind of: thing", "it's {odd}", None), Label("Product Code", "7", "kind of: thing")):
        text = suggested_yaml("a b/log.csv", "Customer ID", "when", None, found, label)
        declared = FeaturesConfig.model_validate(yaml.safe_load(text)["features"])
        assert "qty_sum" in "".join(declared.groups["total"].measures).lower() or declared.groups["total"].measures


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"entity": "customr_id"}, "suggest --entity: no column 'customr_id'; did you mean 'customer_id'"),
        ({"label": "kind"}, "found 'kind', expected column=value"),
        ({"label": "kind=bc"}, "no event has kind = 'bc'; did you mean 'b c'"),
    ],
)
def test_what_is_not_there_is_one_line(spark: SparkSession, log: str, arguments: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        suggest(spark, log, **arguments)


def test_a_log_without_an_entity_column_says_what_was_looked_for(spark: SparkSession, tmp_path: Path) -> None:
    make_events(rows=5).drop(columns=["owner", "arrived"]).to_csv(tmp_path / "log.csv", index=False)
    with pytest.raises(
        InputError, match=r"no entity column .*looked for a name with owner, customer.*; found at, kind"
    ):
        suggest(spark, str(tmp_path / "log.csv"))
