"""A configuration that gains or loses columns ends in the bits of a rebuild, and computes the new ones alone."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from feature_runs import TODAY, KilledError, declared, result, state
from naive_features import make_events

from remedi_spark.config.features import FeaturesConfig
from remedi_spark.config.loading import merge
from remedi_spark.features import past_tables, reuse
from remedi_spark.features import stage as features
from remedi_spark.features.blueprint import prepare
from remedi_spark.features.reuse import reusable
from remedi_spark.storage.tables import Tables

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

NEW: dict[str, Any] = {
    "calendar": ["month"],
    "groups": {
        "twin": {"source": "events", "windows": [30], "measures": {"n": {"aggregate": "count"}}},
        "kind": {
            "source": "events",
            "each": "kind",
            "top": 2,
            "windows": [7],
            "measures": {
                "n": {"aggregate": "count"},
                "spend": {"aggregate": "std", "of": "amount"},
                "items": {"aggregate": "distinct", "of": "item"},
                "median": {"aggregate": "median", "of": "amount"},
                "since": {"aggregate": "days_since_last"},
                "share": {"aggregate": "share", "within": "total"},
            },
        },
    },
    "ratios": {"per_day": {"over": ["total_spend_30d", "total_days_30d"]}},
}


def assert_as_rebuilt(spark: SparkSession, tables: Tables, config: FeaturesConfig, folder: Path) -> None:
    rebuilt = Tables(spark, str(folder))
    features.run(rebuilt, config, today=TODAY)
    pd.testing.assert_frame_equal(result(tables), result(rebuilt), check_exact=True)
    mine, theirs = state(tables), state(rebuilt)
    for name in ("counts", "columns", "labelled", "snapshots", "lookups"):
        assert mine[name] == theirs[name], name
    assert {*mine["cells"]["events"]} == {*theirs["cells"]["events"]}
    left, right = (one.read("feature_dictionary").toPandas() for one in (tables, rebuilt))
    pd.testing.assert_frame_equal(left, right)


def changed(config: FeaturesConfig, **over: Any) -> FeaturesConfig:
    return FeaturesConfig.model_validate(merge(config.model_dump(mode="json"), over))


def killed(*_: Any, **__: Any) -> None:
    raise KilledError


@pytest.mark.slow
def test_features_come_and_go_while_the_sources_move_on(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(past_tables, "BEHIND", 7)
    events = make_events(rows=500)
    known = events[["at", "arrived"]].max(axis=1).dt.date
    cuts = [dt.date.min, dt.date(2024, 4, 9), dt.date(2024, 4, 20), dt.date(2024, 4, 29)]
    source = tmp_path / "events"

    def append(step: int) -> None:
        batch = events[(known > cuts[step]) & (known <= cuts[step + 1])]
        spark.createDataFrame(batch).write.format("delta").mode("append").save(str(source))

    append(0)
    tables, first = Tables(spark, str(tmp_path / "run")), declared(source)
    second = changed(first, **NEW)
    features.run(tables, first, today=TODAY)
    before = {*tables.read("events_daily").columns}
    asked: list[set[str]] = []
    real = reuse.compute_partials

    def spy(*given: Any, **named: Any) -> Any:
        found = real(*given, **named)
        asked.append({*found.days.columns})
        return found

    monkeypatch.setattr(reuse, "compute_partials", spy)
    with monkeypatch.context() as patch, pytest.raises(KilledError):
        # The new partials are there, the features are not.
        patch.setattr(reuse, "write_features", killed)
        features.run(tables, second, today=TODAY)
    assert len(asked) == 1
    assert asked[0] & before == {"owner_id", "__day", "__known"}, "what is there is not computed again"
    append(1)
    assert features.run(tables, second, today=TODAY)["mode"] == "refresh"
    append(2)
    assert features.run(tables, second, today=TODAY)["mode"] == "refresh"
    assert_as_rebuilt(spark, tables, second, tmp_path / "rebuilt")

    with monkeypatch.context() as patch, pytest.raises(KilledError):
        # The features are written, and nobody knows.
        patch.setattr(reuse, "_done", killed)
        features.run(tables, first, today=TODAY)
    assert features.run(tables, first, today=TODAY)["mode"] == "added"
    # What was left in the partials is not believed.
    assert features.run(tables, second, today=TODAY)["mode"] == "added"
    assert_as_rebuilt(spark, tables, second, tmp_path / "rebuilt")  # nothing has come since
    assert features.run(tables, second, today=TODAY)["mode"] == "unchanged"


@pytest.mark.slow
def test_a_label_changes_and_the_features_stay(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "events"
    events = make_events()
    late = events["arrived"] > pd.Timestamp("2024-04-28")
    spark.createDataFrame(events[~late]).write.format("delta").save(str(source))
    tables, first = Tables(spark, str(tmp_path / "run")), declared(source)
    features.run(tables, first, today=TODAY)
    further = {
        "big": {"source": "events", "kind": "sum", "of": "amount", "filter": "kind <> 'a'", "horizon_days": 20},
        "at risk": {"source": "events", "filter": "kind = 'd'", "horizon_days": 9, "at_risk_within_days": 9},
        "early": {
            "source": "events", "filter": "kind = 'd'", "horizon_days": 30,
            "observed_from": "2024-02-20", "observed_until": "2024-04-10", "partly_observed": "positives",
        },
    }  # fmt: skip
    read: list[Any] = []
    real = reuse.read_snapshots

    def spy(partials: Any, readings: Any, *given: Any) -> Any:
        read.extend(reading.view for reading in readings)
        return real(partials, readings, *given)

    monkeypatch.setattr(reuse, "read_snapshots", spy)
    for name, label in {"longer": {"horizon_days": 25}, "shorter": {"horizon_days": 7, "gap_days": 0}}.items():
        config = changed(first, label=label, labels=further)
        features.run(tables, config, today=TODAY)
        assert state(tables)["mode"] in ("added", "refresh")
        assert_as_rebuilt(spark, tables, config, tmp_path / name)
    assert {*read} == {"last"}, "who is at risk, and no feature"
    spark.createDataFrame(events[late]).write.format("delta").mode("append").save(str(source))
    assert features.run(tables, config, today=TODAY)["mode"] == "refresh"
    assert_as_rebuilt(spark, tables, config, tmp_path / "refreshed")
    frame = result(tables)
    assert frame["label_big"].max() > 1
    assert (
        frame.loc[frame["label"].notna(), "label_at risk" if "label_at risk" in frame else "label_at_risk"].isna().any()
    )


def test_equal_definitions_are_one_column(spark: SparkSession) -> None:
    config = changed(declared(Path("unused")), groups={"twin": NEW["groups"]["twin"]})
    blueprint = prepare(spark, config, {"events": spark.createDataFrame(make_events())})
    found = {feature.entry.name: feature for feature in blueprint.features}
    one, two = found["total_count_30d"], found["twin_n_30d"]
    assert one.definition == two.definition
    assert one.readings == two.readings
    assert len({feature.definition for feature in blueprint.features}) == len(found) - 1


def test_what_is_stored_is_known_by_its_definition() -> None:
    stored = {"a": "1", "b": "2", "same": "1"}
    assert reusable(stored, {"a": "1", "renamed": "2", "b": "3", "c": "4"}) == {"a": "a", "renamed": "b"}
