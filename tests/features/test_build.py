"""Owner features equal a plain pandas computation, and know nothing of what came later."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from naive_features import END, START, TREE, known_day, make_events, naive_features

from remedi_spark.config.features import FeaturesConfig
from remedi_spark.config.loading import merge
from remedi_spark.errors import InputError
from remedi_spark.features.blueprint import prepare
from remedi_spark.features.build import build_owner_features

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

KEY = ["owner_id", "snapshot_date"]


def config(**over: Any) -> FeaturesConfig:
    return FeaturesConfig.model_validate(merge(TREE, over))


def built(
    spark: SparkSession, events: pd.DataFrame | DataFrame, declared: FeaturesConfig | None = None
) -> pd.DataFrame:
    frame = spark.createDataFrame(events) if isinstance(events, pd.DataFrame) else events
    rows = build_owner_features(spark, declared or config(), {"events": frame}).toPandas()
    return rows.sort_values(KEY, ignore_index=True)


def assert_same(left: pd.DataFrame, right: pd.DataFrame, **tolerance: float) -> None:
    left, right = (frame.sort_values(KEY, ignore_index=True)[list(left.columns)] for frame in (left, right))
    pd.testing.assert_frame_equal(left, right, check_dtype=False, **tolerance)


@pytest.fixture(scope="module")
def world(spark: SparkSession) -> pd.DataFrame:
    return built(spark, make_events())


def test_every_aggregation_equals_pandas(world: pd.DataFrame) -> None:
    expected = naive_features(make_events(), config())
    assert set(world.columns) == set(expected.columns)
    assert world["label"].isna().any()
    assert world["label"].nunique() == 2
    assert_same(world.astype({"label": float}), expected, rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_what_comes_later_changes_nothing(spark: SparkSession, world: pd.DataFrame, seed: int) -> None:
    """Events that became known after t are deleted, changed and added at random."""
    rng = np.random.default_rng(seed)
    t = START + dt.timedelta(days=12 * int(rng.integers(1, 6)))
    events = make_events()
    later = known_day(events) > t
    past, future = events[~later], events[later].sample(frac=0.5, random_state=seed)
    future = future.assign(amount=future["amount"] * 100, kind="a", item=rng.integers(90, 99, len(future)))
    new = make_events(seed + 100, rows=200)
    changed = built(spark, pd.concat([past, future, new[known_day(new) > t]]))
    before = world["snapshot_date"] <= t
    assert_same(
        world[before].drop(columns="label"), changed[changed["snapshot_date"] <= t].drop(columns="label"), rtol=0
    )
    assert not world[~before].equals(changed[changed["snapshot_date"] > t])


def test_a_late_event_changes_only_snapshots_from_its_arrival_on(spark: SparkSession, world: pd.DataFrame) -> None:
    arrived = START + dt.timedelta(days=30)
    late = {"owner": 3, "at": START - dt.timedelta(days=2), "arrived": arrived, "kind": "d", "amount": 5.0, "item": 77}
    late_frame = pd.DataFrame([late]).astype({"at": "datetime64[ns]", "arrived": "datetime64[ns]"})
    changed = built(spark, pd.concat([make_events(), late_frame]))
    differs = (world.fillna(-1) != changed.fillna(-1)).any(axis=1)
    touched = world[differs]
    assert set(touched["owner_id"]) <= {"3"}
    assert (touched["snapshot_date"] >= arrived).all()


def test_a_late_event_is_inside_the_windows_that_still_cover_its_day(spark: SparkSession) -> None:
    t = START + dt.timedelta(days=12)
    events = pd.DataFrame(
        {
            "owner": [1, 1],
            "at": pd.to_datetime([START - dt.timedelta(days=20), t - dt.timedelta(days=3)]),
            "arrived": pd.to_datetime([START - dt.timedelta(days=20), t + dt.timedelta(days=1)]),
            "kind": ["d", "a"],
            "amount": [1.0, 2.0],
            "item": [1, 2],
        }
    )
    rows = built(spark, events).set_index("snapshot_date")
    assert rows.loc[t, "total_count_30d"] == 0
    assert rows.loc[t + dt.timedelta(days=12), "total_count_30d"] == 1
    assert rows.loc[t, "total_last"] == 32
    assert rows.loc[t + dt.timedelta(days=12), "kind_a_last"] == 15


def test_partitions_change_nothing(spark: SparkSession) -> None:
    frame = spark.createDataFrame(make_events())
    one, seven = (built(spark, frame.repartition(n)) for n in (1, 7))
    pd.testing.assert_frame_equal(one, seven, check_exact=True)


def test_the_label_window_is_open_at_its_start_and_closed_at_its_end(spark: SparkSession) -> None:
    """Gap 2, horizon 10: days t + 3 to t + 12. One owner for each day of the label event."""
    days = [2, 3, 12, 13]
    seen = pd.DataFrame({"owner": days, "at": pd.Timestamp(START), "kind": "d"})
    bought = pd.DataFrame(
        {"owner": days, "at": [pd.Timestamp(START) + pd.Timedelta(days=d) for d in days], "kind": "a"}
    )
    events = pd.concat([seen, bought]).assign(amount=1.0, item=1, arrived=pd.Timestamp(END))
    events.loc[events["kind"] == "d", "arrived"] = pd.Timestamp(START)
    rows = built(spark, events)
    first = rows[rows["snapshot_date"] == START].set_index("owner_id")["label"]
    assert first.to_dict() == {"2": 0, "3": 1, "12": 1, "13": 0}


def test_sum_labels_and_recent_owners_only(spark: SparkSession) -> None:
    events = make_events()
    declared = config(
        label={"kind": "sum", "of": "amount"}, eligibility={"active_within_days": 5}, snapshots={"censored": "all"}
    )
    rows = built(spark, events, declared)
    everyone = naive_features(events, config())
    recent = everyone[everyone["total_last"] < 5]
    labelled = rows.dropna(subset="label")
    assert set(map(tuple, labelled[KEY].to_numpy())) == set(map(tuple, recent.dropna(subset="label")[KEY].to_numpy()))
    row = labelled.iloc[0]
    t = row["snapshot_date"]
    day = events["at"].dt.date
    inside = (day > t + dt.timedelta(days=2)) & (day <= t + dt.timedelta(days=12)) & (events["kind"] == "a")
    own = events["owner"].astype(str) == row["owner_id"]
    assert row["label"] == pytest.approx(events.loc[inside & own, "amount"].sum())


@pytest.mark.parametrize(("keep", "censored"), [("all", 2), ("latest", 1), ("none", 0)])
def test_censored_snapshots(spark: SparkSession, keep: str, censored: int) -> None:
    """Of the snapshots 1 Feb, 13 Feb … 24 Apr, those after 18 Apr have no whole label window by 30 Apr."""
    declared = config(snapshots={"censored": keep, "every_days": 6, "end": "2024-04-25"})
    grid = prepare(spark, declared, {"events": spark.createDataFrame(make_events())}).grid
    assert [day > dt.date(2024, 4, 18) for day in grid.days].count(True) == censored


def test_attributes_static_and_as_of(spark: SparkSession) -> None:
    t = [START + dt.timedelta(days=12 * step) for step in range(4)]
    history = pd.DataFrame(
        {
            "owner": [1, 1, 1],
            "since": pd.to_datetime([t[0], t[2], t[1]]),
            "told": pd.to_datetime([t[0], t[2], t[3]]),
            "plan": ["basic", "gold", "silver"],
        }
    )
    home = pd.DataFrame({"owner": [1], "region": ["north"]})
    declared = config(
        attributes={
            "plans": {"path": "unused", "time": "since", "arrival_time": "told", "columns": ["plan"]},
            "homes": {"path": "unused", "columns": ["region"]},
        }
    )
    frames = {"events": make_events(), "plans": history, "homes": home}
    rows = build_owner_features(spark, declared, {name: spark.createDataFrame(f) for name, f in frames.items()})
    own = rows.filter("owner_id = '1'").toPandas().set_index("snapshot_date")
    # 'silver' held from t1 on but was told at t3, when 'gold' (since t2) is the newer one.
    assert [own.loc[day, "plan"] for day in t] == ["basic", "basic", "gold", "gold"]
    assert set(own["region"]) == {"north"}
    assert rows.filter("owner_id <> '1' AND (region IS NOT NULL OR plan IS NOT NULL)").isEmpty()


def test_two_sources_make_one_row(spark: SparkSession) -> None:
    visits = pd.DataFrame({"owner": [0, 99], "at": pd.to_datetime([START, START]), "page": ["x", "y"]})
    declared = config(
        sources={"visits": {"path": "unused", "event_time": "at"}},
        groups={"web": {"source": "visits", "measures": {"count": {"aggregate": "count"}}}},
        calendar=["month"],
        ratios={"visits_a_purchase": {"over": ["web_count_30d", "total_count_30d"]}},
    )
    frames = {"events": spark.createDataFrame(make_events()), "visits": spark.createDataFrame(visits)}
    rows = build_owner_features(spark, declared, frames).toPandas().set_index(KEY)
    assert rows.index.is_unique
    assert rows.loc[("99", START), ["web_count_7d", "total_count_7d", "calendar_month"]].tolist() == [1, 0, 2]
    both = rows.loc[("0", START)]
    assert both["visits_a_purchase"] == pytest.approx(1 / both["total_count_30d"])


@pytest.mark.parametrize(
    ("over", "message"),
    [
        ({"groups": {"total": {"measures": {"mean": {"of": "kind"}}}}}, "'kind' is of type string, expected a number"),
        ({"groups": {"total": {"measures": {"mean": {"of": "amout"}}}}}, "no column 'amout'.*did you mean 'amount'"),
        ({"groups": {"kind": {"where": "knd = 'a'"}}}, "groups.kind.where: no column 'knd'.*did you mean 'kind'"),
        ({"groups": {"kind": {"where": "kind = = 'a'"}}}, "not a valid expression"),
        ({"sources": {"events": {"event_time": "when"}}}, "event_time: no column 'when'"),
        ({"entity": "ownr"}, "no column 'ownr'; did you mean 'owner'"),
        ({"label": {"column": "kind", "category": "A", "filter": None}}, r"no event has kind = 'A'; did you mean 'a'"),
        ({"eligibility": {"active_within_days": 1}, "snapshots": {"start": "2024-06-01", "end": "2024-06-02",
          "data_end": "2024-09-01"}}, "no eligible owner"),
        ({"snapshots": {"start": "2025-01-01", "end": None}}, "first snapshot would be 2025-01-01"),
        ({"snapshots": {"start": "2024-04-20"}}, "passes the end of the data 2024-04-30"),
        ({"ratios": {"x": {"over": ["total_count_7d", "total_cuont_30d"]}}}, "did you mean 'total_count_30d'"),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_data_is_one_line(spark: SparkSession, over: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        prepare(spark, config(**over), {"events": spark.createDataFrame(make_events(rows=50))})
    assert "\n" not in str(caught.value)


def test_top_levels_are_those_known_at_the_first_snapshot(spark: SparkSession) -> None:
    events = make_events()
    early = known_day(events) <= START
    events["kind"] = np.where(early, events["kind"], "z")  # by far the most frequent, but only later
    declared = config(groups={"kind": {"levels": None, "top": 2}})
    names = [
        feature.entry.name for feature in prepare(spark, declared, {"events": spark.createDataFrame(events)}).features
    ]
    assert "kind_d_count_7d" in names
    assert not any("kind_z" in name for name in names)
