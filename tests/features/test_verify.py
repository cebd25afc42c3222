"""``verify`` finds a table that no longer is what the sources say, and nothing in one that is."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from naive_features import make_events

from remedi_spark.config.features import FeaturesConfig
from remedi_spark.features import stage as features
from remedi_spark.features.verify import ROW, Verification, verify
from remedi_spark.storage.tables import Tables

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

TODAY = dt.date(2024, 6, 30)


def timed(events: pd.DataFrame) -> pd.DataFrame:
    """Return events that are known at once, at times of one zone."""
    return events.drop(columns="arrived").assign(at=events["at"].astype("datetime64[us]").dt.tz_localize("UTC"))


def declared(folder: Path, **source: Any) -> FeaturesConfig:
    return FeaturesConfig.model_validate(
        {
            "entity": "owner",
            "sources": {"events": {"path": str(folder / "events.parquet"), "event_time": "at"} | source},
            "attributes": {
                "home": {"path": str(folder / "homes.parquet"), "time": "since", "columns": ["region", "size"]},
                "person": {"path": str(folder / "people.parquet"), "columns": ["age"]},
                "plan": {"path": str(folder / "plans.parquet"), "time": "since", "until": "until", "columns": ["plan"]},
            },
            "windows": [7, "ever"],
            "calendar": ["day_of_week", "quarter"],
            "groups": {
                "total": {
                    "source": "events",
                    "measures": {
                        "count": {"aggregate": "count"},
                        "spend": {"aggregate": "sum", "of": "amount"},
                        "items": {"aggregate": "approx_distinct", "of": "item"},
                        "p90": {"aggregate": "approx_percentile", "at": 0.9, "of": "amount"},
                        "last": {"aggregate": "last", "of": "amount"},
                        "since": {"aggregate": "days_since_last"},
                    },
                },
                "hours": {"source": "events", "calendar": "time_of_day", "measures": {"n": {"aggregate": "count"}}},
            },
            "ratios": {"value": {"over": ["total_spend_7d", "total_count_7d"]}},
            "label": {"source": "events", "filter": "kind = 'a'", "gap_days": 2, "horizon_days": 10},
            "labels": {
                "spend": {"source": "events", "kind": "sum", "of": "amount", "horizon_days": 20},
                "early": {
                    "source": "events",
                    "filter": "kind <> 'a'",
                    "horizon_days": 10,
                    "observed_from": "2024-03-01",
                    "observed_until": "2024-04-20",
                    "partly_observed": "positives",
                },
                "risky": {"source": "events", "filter": "item < 3", "at_risk_within_days": 6},
            },
            "snapshots": {"start": "2024-02-01", "every_days": 12},
            "eligibility": {"active_within_days": 20},
        }
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("verify")
    (found / "events.parquet").mkdir()
    events = timed(make_events(rows=300))
    events.to_parquet(found / "events.parquet" / "1.parquet")
    since = pd.to_datetime(["2024-01-05", "2024-03-05", "2024-03-20"], utc=True).astype("datetime64[us, UTC]")
    homes = pd.DataFrame({"owner": [1, 1, 2], "since": since, "region": ["n", "s", None], "size": [1.5, 2.5, 3.5]})
    homes.to_parquet(found / "homes.parquet")
    pd.DataFrame({"owner": [1, 5], "age": [41, 52]}).to_parquet(found / "people.parquet")
    until = pd.to_datetime(["2024-02-20", None, "2024-04-01"], utc=True).astype("datetime64[us, UTC]")
    pd.DataFrame({"owner": [1, 1, 2], "since": since, "until": until, "plan": [*"abc"]}).to_parquet(
        found / "plans.parquet"
    )
    return found


@pytest.fixture(scope="module")
def tables(spark: SparkSession, folder: Path) -> Tables:
    made = Tables(spark, str(folder / "run"))
    features.run(made, declared(folder), today=TODAY)
    return made


def differing(found: Verification) -> set[str]:
    return {one.feature for one in found.differing}


def test_what_was_built_from_the_sources_is_as_by_hand(tables: Tables, folder: Path) -> None:
    found = verify(tables, declared(folder), sample=200)
    assert not found.differing, found.in_words()
    assert found.owners == 12
    assert found.rows == 36
    assert {one.feature for one in found.verdicts} == {ROW, *tables.read("owner_features").columns[2:]}
    assert min(one.checked for one in found.verdicts) > 20
    early = tables.read("owner_features").toPandas().set_index("snapshot_date")["label_early"]
    whole = early[[dt.date(2024, 3, 8) <= day <= dt.date(2024, 4, 1) for day in early.index]]
    assert {*whole} == {0, 1}, "wholly observed windows"
    assert {*early[[day not in {*whole.index} for day in early.index]].dropna()} == {1}, "seen already"


def test_a_changed_filter_is_found(tables: Tables, folder: Path) -> None:
    found = verify(tables, declared(folder, filter="item <> 3"), sample=200)
    assert {"total_count_ever", "hours_night_n_ever"} <= differing(found)
    assert "calendar_quarter" not in differing(found)
    assert "expected" in found.in_words()


def test_another_time_zone_is_found(spark: SparkSession, tables: Tables, folder: Path) -> None:
    zone = spark.conf.get("spark.sql.session.timeZone")
    spark.conf.set("spark.sql.session.timeZone", "Pacific/Auckland")
    try:
        assert "hours_morning_n_ever" in differing(verify(tables, declared(folder), sample=200))
    finally:
        spark.conf.set("spark.sql.session.timeZone", str(zone))


def test_rows_that_came_in_late_are_found(tables: Tables, folder: Path) -> None:
    late = folder / "events.parquet" / "2.parquet"
    timed(make_events(1, rows=40)).to_parquet(late)
    try:
        found = differing(verify(tables, declared(folder), sample=200))
    finally:
        late.unlink()
    assert {"total_count_ever", "label"} <= found
