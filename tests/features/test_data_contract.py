"""Bad rows are set aside with their reason, and features are as if they had never come; bad tables stop the run."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from naive_features import TREE, make_events

from remedi_spark.config.features import FeaturesConfig
from remedi_spark.config.loading import merge
from remedi_spark.errors import InputError
from remedi_spark.features import stage as features
from remedi_spark.features.blueprint import prepare
from remedi_spark.features.build import build_owner_features
from remedi_spark.features.quality import checked, find, good_rows, quarantined
from remedi_spark.storage.tables import Tables
from tests.interpreted import compiled

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

KEY = ["owner_id", "snapshot_date"]
TODAY = dt.date(2024, 5, 1)
CONTRACT = {
    "columns": {"amount": "double", "kind": "string"},
    "required": ["kind"],
    "unique": ["id"],
    "ranges": {"amount": [0, 1000]},
    "allowed": {"kind": ["a", "b c", "d"]},
    "references": {"item": {"to": "items", "column": "item"}},
    "rules": {"short": "length(kind) < 9"},
}
ITEMS = {"items": {"path": "unused", "columns": ["name"]}}


def declared(**contract: Any) -> FeaturesConfig:
    tree = merge(TREE, {"sources": {"events": {"contract": CONTRACT | contract}}, "attributes": ITEMS})
    return FeaturesConfig.model_validate(tree)


def good_events() -> pd.DataFrame:
    events = make_events().assign(amount=lambda frame: frame["amount"].fillna(1.0))
    return events.assign(id=range(len(events)))


def frames(spark: SparkSession, events: pd.DataFrame) -> dict[str, DataFrame]:
    items = pd.DataFrame({"owner": [1], "item": [0], "name": ["x"]})
    listed = pd.concat([items.assign(item=item, owner=item) for item in range(15)])
    return {"events": spark.createDataFrame(events), "items": spark.createDataFrame(listed)}


def bad_rows(good: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """One row for each way of being bad, and what must be said of it."""
    spoilt = {
        "no owner": {"owner": None},
        "no time in at": {"at": pd.NaT},
        "event time in the future": {"at": pd.Timestamp("2024-05-20")},
        "kind is null": {"kind": None},
        "amount below 0": {"amount": -0.5},
        "amount above 1000": {"amount": 1000.5},
        "kind not among the allowed values": {"kind": "e"},
        "item not in items.item": {"item": 99},
        "breaks rule short": {"kind": "something long"},
    }
    rows = [good.iloc[[n]].assign(id=10_000 + n, **change) for n, change in enumerate(spoilt.values())]
    again = good.iloc[[0]].assign(arrived=pd.Timestamp("2024-04-30"), amount=999.0)  # the same id, known later
    return pd.concat([*rows, again]), [*spoilt, "id stands there already"]


def test_every_bad_row_is_set_aside_and_every_good_one_kept(spark: SparkSession) -> None:
    good = good_events()
    bad, reasons = bad_rows(good)
    mixed = pd.concat([good, bad]).sample(frac=1, random_state=1).astype({"owner": "Int64"})
    tables, config = frames(spark, mixed), declared()
    source = config.sources["events"]
    rows = checked(tables["events"], source, config.entity, "features.sources.events", tables, TODAY)
    found = find(rows, source, "events")
    assert found.rows == len(mixed)
    assert found.failed == len(bad)
    # A kind that is too long is not among the allowed ones either.
    assert dict(found.reasons) == dict.fromkeys(reasons, 1) | {"kind not among the allowed values": 2}
    aside = quarantined(rows, tables["events"].columns, "events", "run1").toPandas()
    stored = [json.loads(row) for row in aside["row"]]
    assert sorted(row["id"] for row in stored) == sorted(bad["id"])
    assert set(aside["source"]) == {"events"}
    assert set(aside["run"]) == {"run1"}
    assert set(stored[0]) == set(good.columns)

    clean = good_rows(rows)
    assert clean.columns == tables["events"].columns
    expected = build_owner_features(spark, config, frames(spark, good)).toPandas().sort_values(KEY)
    seen = build_owner_features(spark, config, tables | {"events": clean}).toPandas().sort_values(KEY)
    pd.testing.assert_frame_equal(*(f.reset_index(drop=True) for f in (seen, expected)), check_exact=True)


@pytest.mark.parametrize(
    ("contract", "message"),
    [
        ({"columns": {"amount": "bigint"}}, "'amount' is of type double, but the contract promises bigint"),
        ({"columns": {"amuont": "double"}}, "no column 'amuont'; did you mean 'amount'"),
        ({"columns": {"amount": "number"}}, "'number' is no Spark SQL type"),
        ({"required": ["knd"]}, "no column 'knd'; did you mean 'kind'"),
        ({"rules": {"x": "amuont > 0"}}, "no column 'amuont'"),
        ({"references": {"item": {"to": "items", "column": "itm"}}}, "no column 'itm'; did you mean 'item'"),
    ],
)
def test_a_contract_that_does_not_fit_is_one_line(spark: SparkSession, contract: dict[str, Any], message: str) -> None:
    tables, config = frames(spark, good_events()), declared(**contract)
    with pytest.raises(InputError, match=message):
        checked(tables["events"], config.sources["events"], config.entity, "features.sources.events", tables, TODAY)


def test_the_stage_counts_quarantines_and_refuses(spark: SparkSession, tmp_path: Path) -> None:
    good = good_events()
    bad, _ = bad_rows(good)
    for name, frame in frames(spark, pd.concat([good, bad]).astype({"owner": "Int64"})).items():
        frame.write.format("delta").save(str(tmp_path / name))
    tree = declared(max_age_days=5).model_dump(mode="json")
    tree["sources"]["events"]["path"] = str(tmp_path / "events")
    tree["attributes"]["items"]["path"] = str(tmp_path / "items")
    config = FeaturesConfig.model_validate(tree)
    tables = Tables(spark, str(tmp_path / "run"))

    strict = config.model_copy(update={"quarantine": config.quarantine.model_copy(update={"max_share": 0.01})})
    with pytest.raises(InputError, match=r"10 of 410 rows break the contract.*Nothing was written"):
        features.run(tables, strict, today=TODAY)
    with pytest.raises(InputError, match="the latest event is of 2024-04-30, 6 days before 2024-05-06"):
        features.run(tables, config, today=dt.date(2024, 5, 6))
    assert not tables.exists("owner_features")
    assert not tables.exists("quarantine")

    summary = features.run(tables, config, today=TODAY)
    assert summary["quarantined"] == len(bad)
    assert summary["quarantine"]["events"]["amount below 0"] == 1
    assert tables.read("quarantine").count() == len(bad)


# --- what an event log gets wrong ------------------------------------------------------------------------------------


def plain(**over: Any) -> FeaturesConfig:
    return FeaturesConfig.model_validate(merge(TREE, over))


def test_sources_that_disagree_on_the_keys_type(spark: SparkSession) -> None:
    visits = pd.DataFrame({"owner": ["01"], "at": [pd.Timestamp("2024-02-01")]})
    config = plain(sources={"visits": {"path": "unused", "event_time": "at"}})
    tables = {"events": spark.createDataFrame(make_events(rows=20)), "visits": spark.createDataFrame(visits)}
    with pytest.raises(InputError, match=r"visits: the key 'owner' is of type string, but 'owner' of .*events is of"):
        prepare(spark, config, tables)


def test_times_with_and_without_a_zone(spark: SparkSession) -> None:
    events = spark.createDataFrame(make_events(rows=200))
    mixed = events.withColumn("arrived", events["arrived"].cast("timestamp_ntz"))
    with pytest.raises(InputError, match="time zones are mixed; say with time_zone"):
        prepare(spark, plain(), {"events": mixed})
    said = plain(sources={"events": {"time_zone": "UTC"}})
    same = build_owner_features(spark, said, {"events": mixed})
    assert same.exceptAll(build_owner_features(spark, plain(), {"events": events})).isEmpty()


def test_times_as_text_are_read_in_their_zone_and_never_half(spark: SparkSession) -> None:
    rows = [(1, "2024-02-01T23:30:00-05:00", "a"), (2, "2024-02-01T23:30:00+05:00", "a"), (3, "2024-02-30", "a")]
    frame = spark.createDataFrame(rows, "owner int, at string, kind string")
    config = plain(sources={"events": {"arrival_time": None}})
    source = config.sources["events"]
    dated = checked(frame, source, "owner", "events", {}, None)
    days = {row["owner"]: row["__day"] for row in dated.collect()}
    assert days == {1: dt.date(2024, 2, 2), 2: dt.date(2024, 2, 1), 3: None}
    assert find(dated, source, "events").reasons == {"no time in at": 1}
    half = frame.union(spark.createDataFrame([(4, "2024-02-01 10:00:00", "a")], frame.schema))
    with pytest.raises(InputError, match="column 'at' mixes time zones: 2 times carry one and 1 do not"):
        find(checked(half, source, "owner", "events", {}, None), source, "events")


def test_a_declared_zone_moves_days(spark: SparkSession) -> None:
    frame = spark.sql("SELECT 1 AS owner, TIMESTAMP_NTZ '2024-02-01 00:30:00' AS at, 'a' AS kind")
    config = plain(sources={"events": {"arrival_time": None, "time_zone": "Europe/Berlin"}})
    dated = checked(frame, config.sources["events"], "owner", "events", {}, None)
    assert dated.collect()[0]["__day"] == dt.date(2024, 1, 31)


def test_an_owner_with_a_million_events(spark: SparkSession) -> None:
    """What is shuffled is days, not events: the heavy owner is as small as any other by then."""
    from remedi_spark.features.build import compute_partials

    heavy = spark.sql(
        "SELECT 0 AS owner, timestamp_seconds(1704067200 + (id * 7919) % 10368000) AS at, 'a' AS kind, 1.0D AS amount,"
        " id % 3 AS item FROM range(1000000)"
    )
    light = spark.createDataFrame(make_events(rows=200).drop(columns="arrived"))
    events = heavy.unionByName(light.filter("owner > 0"))
    config = plain(sources={"events": {"arrival_time": None}})
    blueprint = prepare(spark, config, {"events": events})
    with compiled(spark):
        partials = compute_partials(blueprint, "events")
        assert partials.values is not None
        assert partials.days.filter("owner_id = '0'").count() == 120
        assert partials.values.filter("owner_id = '0'").count() <= 120 * 3 * 2
        row = build_owner_features(spark, config, {"events": events}).filter(
            "owner_id = '0' AND snapshot_date = DATE '2024-03-08'"
        ).collect()[0]  # fmt: skip
        expected = heavy.filter("at >= '2024-03-02' AND at < '2024-03-09'").count()
        assert row["total_count_7d"] == row["total_spend_7d"] == expected
        assert row["total_items_7d"] == 3


def test_a_log_that_is_empty_for_a_day_or_altogether(spark: SparkSession) -> None:
    events = make_events()
    gone = events[events["at"].dt.date != dt.date(2024, 3, 8)]  # the day of a snapshot
    rows = build_owner_features(spark, plain(), {"events": spark.createDataFrame(gone)}).toPandas()
    assert dt.date(2024, 3, 8) in set(rows["snapshot_date"])
    empty = spark.createDataFrame(events).limit(0)
    with pytest.raises(InputError, match="no event with an owner and a time"):
        prepare(spark, plain(), {"events": empty})


def test_future_events_do_not_move_the_snapshots(spark: SparkSession, tmp_path: Path) -> None:
    events = make_events().assign(amount=np.float64(1.0))
    future = events.head(3).assign(at=pd.Timestamp("2199-01-01"), arrived=pd.Timestamp("2199-01-01"))
    path = tmp_path / "events"
    spark.createDataFrame(pd.concat([events, future])).write.format("delta").save(str(path))
    config = plain(sources={"events": {"path": str(path)}}, snapshots={"end": None, "data_end": None})
    tables = Tables(spark, str(tmp_path / "run"))
    summary = features.run(tables, config, today=TODAY)
    assert summary["quarantine"] == {"events": {"event time in the future": 3}}
    assert tables.read("owner_features").agg({"snapshot_date": "max"}).collect()[0][0] <= TODAY
