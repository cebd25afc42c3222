"""Every aggregation equals plain Python over the raw events that were known."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pandas as pd
import pytest
from more_aggregates import MORE
from naive_features import START, TREE, make_events

from remedi_spark.config.features import FeaturesConfig
from remedi_spark.config.loading import merge
from remedi_spark.config.measures import Aggregate
from remedi_spark.config.sources import Attributes
from remedi_spark.errors import InputError
from remedi_spark.features import build
from remedi_spark.features.blueprint import Blueprint, prepare
from remedi_spark.features.build import assemble, build_owner_features, compute_partials
from remedi_spark.features.by_hand import by_hand
from remedi_spark.features.quality import checked, find, refuse
from remedi_spark.features.raw_events import raw_events
from remedi_spark.features.windows import Partials

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

KEY = ["owner_id", "snapshot_date"]


def config(**over: Any) -> FeaturesConfig:
    return FeaturesConfig.model_validate(merge(merge(TREE, {"groups": MORE}), over))


def partials_of(blueprint: Blueprint, sparse: bool) -> Partials:
    """Return partials that keep values in plain columns, or all of them in lists."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "is_sparse", lambda _: sparse)
        return compute_partials(blueprint, "events")


def test_all_aggregations_equal_plain_python(spark: SparkSession) -> None:
    declared = config()
    used = {m.aggregate for group in declared.groups.values() for m in group.measures.values()}
    assert used == set(get_args(Aggregate))
    frame = spark.createDataFrame(make_events()).repartition(3)
    blueprint = prepare(spark, declared, {"events": frame})
    rows, other = (
        assemble(blueprint, {"events": partials_of(blueprint, sparse)}).toPandas().sort_values(KEY, ignore_index=True)
        for sparse in (True, False)
    )
    pd.testing.assert_frame_equal(rows, other, check_exact=True)
    events = raw_events(blueprint, "events", rows["owner_id"].unique())
    checked = 0
    for row in rows.to_dict("records"):
        expected = by_hand(
            declared, blueprint.lookups.groups, {"events": events[row["owner_id"]]}, row["snapshot_date"]
        )
        assert set(expected) == set(row) - {*KEY, "label"}
        for name, value in expected.items():
            tolerance = 0.0101 if "about_p25" in name else 1e-9
            checked += value is not None
            if isinstance(value, str) or isinstance(row[name], str):
                assert row[name] == value, name
                continue
            found = np.nan if row[name] is None else row[name]
            np.testing.assert_allclose(
                found, np.nan if value is None else value, rtol=tolerance, atol=2e-9, err_msg=name
            )
    assert checked > 10_000


def test_hours_need_times_and_aggregates_that_add_up(spark: SparkSession) -> None:
    days = make_events(rows=50).assign(at=lambda frame: frame["at"].dt.strftime("%Y-%m-%d"), arrived=None)
    tree = {"sources": {"events": {"arrival_time": None}}, "groups": {"total": {"windows": ["6h", 28]}}}
    plain = {"items": {"windows": [7]}}
    with pytest.raises(ValueError, match=r"groups.total.measures.items: distinct has no window in hours, found 6h"):
        FeaturesConfig.model_validate(merge(TREE, tree))
    declared = FeaturesConfig.model_validate(merge(TREE, merge(tree, {"groups": {"total": {"measures": plain}}})))
    frame = spark.createDataFrame(days.drop(columns="arrived"))
    message = r"groups.total: window 6h needs times of the day, but event_time 'at' of source 'events' \(string\) has"
    with pytest.raises(InputError, match=message):
        prepare(spark, declared, {"events": frame})
    for wrong in ("6hours", "0h", "9000h", -6, 0):
        with pytest.raises(ValueError, match=r"expected days \(28\), hours \(6h, at most 8784h\) or ever"):
            FeaturesConfig.model_validate(merge(TREE, {"windows": [wrong]}))
    assert declared.groups["total"].model_dump(mode="json")["windows"] == ["6h", 28]


def one_owner(spark: SparkSession, measures: dict[str, Any], values: list[float], **over: Any) -> pd.DataFrame:
    """Build the features of one owner with all values on one day, a second apart."""
    begin = pd.Timestamp("2024-02-01")
    times = begin + pd.to_timedelta(np.arange(len(values)), unit="s")
    frame = pd.DataFrame({"owner": 1, "at": times, "arrived": times, "kind": "a", "amount": values, "item": values})
    groups = {"total": {"source": "events", "measures": measures, "windows": [30]}}
    declared = FeaturesConfig.model_validate(merge({**TREE, "groups": groups}, over))
    return build_owner_features(spark, declared, {"events": spark.createDataFrame(frame)}).toPandas().iloc[0]


def test_approximations_stay_within_their_error(spark: SparkSession) -> None:
    """20,000 different values of one owner and day: the sketches are small, the answers near."""
    values = np.random.default_rng(0).lognormal(3, 2, 20_000)
    values[:5_000] *= -1
    measures = {
        f"p{at}": {"aggregate": "approx_percentile", "of": "amount", "at": at / 100} for at in (0, 1, 25, 50, 99, 100)
    }
    row = one_owner(spark, measures | {"n": {"aggregate": "approx_distinct", "of": "item"}}, list(values))
    for at in (0, 1, 25, 50, 99, 100):
        exact = np.quantile(values, at / 100, method="inverted_cdf")
        assert row[f"total_p{at}_30d"] == pytest.approx(exact, rel=0.01)
    assert row["total_n_30d"] == pytest.approx(20_000, rel=0.19)  # three standard errors


def test_exact_quantiles_refuse_what_does_not_end(spark: SparkSession) -> None:
    said = (
        "values of amount on one day of an owner passes 10000, more than is kept exactly; use approx_percentile instead"
    )
    with pytest.raises(Exception, match=said):
        one_owner(spark, {"m": {"aggregate": "median", "of": "amount"}}, [float(i) for i in range(10_001)])


def test_skewness_does_not_cancel_out(spark: SparkSession) -> None:
    values = [1e9 + value for value in (0.0, 0.0, 1.0)]
    row = one_owner(spark, {"s": {"aggregate": "skew", "of": "amount"}}, values)
    assert row["total_s_30d"] == pytest.approx(0.7071067811865, rel=1e-6)
    row = one_owner(spark, {"s": {"aggregate": "skew", "of": "amount"}}, [5.0] * 4)
    assert np.isnan(row["total_s_30d"])


def test_a_range_of_what_is_no_number_is_one_line(spark: SparkSession) -> None:
    declared = config(groups={"size": {"each": "kind", "where": "amount > 0"}})
    with pytest.raises(InputError, match=r"groups\.size\.each: 'kind' is of type string, expected a number"):
        prepare(spark, declared, {"events": spark.createDataFrame(make_events(rows=50))})


def test_moments_of_all_kinds_of_times(spark: SparkSession) -> None:
    """The latest value is that of the latest moment, however the time is written."""
    seconds = [1_706_745_600 + 3_600 * hour for hour in (9, 20, 13)]  # 1 February 2024
    at = [dt.datetime.fromtimestamp(second, dt.UTC).replace(tzinfo=None) for second in seconds]
    forms = {
        "seconds": seconds,
        "millis": [second * 1_000 for second in seconds],
        "text": [f"{moment:%Y-%m-%d %H:%M}" for moment in at],
        "german": [f"{moment:%d.%m.%Y %H:%M:%S}" for moment in at],
        "zoned": [f"{moment:%Y-%m-%dT%H:%M:%S}Z" for moment in at],
    }
    measures = {"last": {"aggregate": "last", "of": "amount"}}
    groups = {"total": {"source": "events", "measures": measures, "windows": [30]}}
    for name, times in forms.items():
        frame = spark.createDataFrame(pd.DataFrame({"owner": 1, "at": times, "kind": "a", "amount": [1.0, 2.0, 3.0]}))
        tree = {**TREE, "groups": groups, "sources": {"events": {"path": "unused", "event_time": "at"}}}
        rows = build_owner_features(spark, FeaturesConfig.model_validate(tree), {"events": frame}).toPandas()
        assert rows["total_last_30d"].iloc[0] == 2.0, name


def test_attributes_hold_within_their_interval(spark: SparkSession) -> None:
    """An interval ends, an outer one holds again, and a later version of a row brings its end."""
    days = [START + dt.timedelta(days=12 * i) for i in range(6)]
    plans = pd.DataFrame(
        {
            "owner": 1,
            "since": [days[0], days[1], days[1], days[4]],
            "until": [None, None, days[2], days[5]],
            "told": [days[0], days[1], days[3], days[4]],
            "plan": ["basic", "trial", "trial", "gold"],
        }
    ).astype(dict.fromkeys(("since", "until", "told"), "datetime64[ns]"))
    attributes = {
        "plans": {"path": "x", "time": "since", "until": "until", "arrival_time": "told", "columns": ["plan"]}
    }
    declared = FeaturesConfig.model_validate(merge(TREE, {"attributes": attributes}))
    frames = {"events": spark.createDataFrame(make_events()), "plans": spark.createDataFrame(plans)}
    rows = build_owner_features(spark, declared, frames).filter("owner_id = '1'").toPandas().set_index("snapshot_date")
    assert [rows.loc[day, "plan"] for day in days] == ["basic", "trial", "trial", "basic", "gold", "basic"]


def test_an_interval_that_ends_before_it_begins_is_set_aside(spark: SparkSession) -> None:
    table = Attributes.model_validate({"path": "x", "time": "since", "until": "until", "columns": ["plan"]})
    rows = pd.DataFrame({"owner": [1, 2], "since": ["2024-02-01"] * 2, "until": ["2024-01-31", None], "plan": "a"})
    judged = checked(spark.createDataFrame(rows), table, "owner", "features.attributes.plans", {}, None)
    found = find(judged, table, "features.attributes.plans")
    assert found.reasons == {"until before since": 1}
    with pytest.raises(InputError, match=r"1 of 2 rows break the contract: until before since \(1\)"):
        refuse(found, 0.05, "features.attributes.plans")
