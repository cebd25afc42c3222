"""Rows of segments against pandas, and the leak test: later events never change a feature."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from remedi_spark.config.adapt import HistoryConfig
from remedi_spark.features.sources import DAY, KNOWN
from remedi_spark.segments.history import segment_rows

SNAPSHOTS = [dt.date(2026, 3, 1), dt.date(2026, 4, 1)]
CONFIG = HistoryConfig(source="e", column="item", parent="aisle", value="price", windows=[7, 28], rates=(0.0, 1.0))


def events(seed: int = 0, rows: int = 400) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    days = pd.Timestamp("2026-01-05") + pd.to_timedelta(rng.integers(0, 115, rows), unit="D")
    item = rng.choice(["tea", "nuts", "soap"], rows)
    return pd.DataFrame(
        {
            "owner_id": [f"o{i}" for i in rng.integers(0, 25, rows)],
            "item": item,
            "aisle": np.where(item == "soap", "home", "food"),
            "price": rng.integers(1, 9, rows).astype(float),
            DAY: days.date,
            KNOWN: days.date,
        }
    )


def build(spark: Any, frame: pd.DataFrame, config: HistoryConfig = CONFIG) -> pd.DataFrame:
    rows = segment_rows(spark.createDataFrame(frame), config, SNAPSHOTS, 28).toPandas()
    return rows.sort_values(["segment", "owner_id", "snapshot_date"]).reset_index(drop=True)


def test_features_and_labels_equal_a_plain_count(spark: Any) -> None:
    frame = events()
    found = build(spark, frame)
    day = pd.to_datetime(frame[DAY])
    for _, row in found.iterrows():
        t = pd.Timestamp(row["snapshot_date"])
        own = frame[(frame["owner_id"] == row["owner_id"]) & (frame["item"] == row["segment"])]
        age = (t - pd.to_datetime(own[DAY])).dt.days
        for window in (7, 28):
            inside = own[(age >= 0) & (age < window)]
            assert row[f"own_lines_{window}d"] == len(inside)
            assert row[f"own_value_{window}d"] == pytest.approx(inside["price"].sum())
        past = age[age >= 0]
        assert np.isnan(row["own_since_last"]) if past.empty else row["own_since_last"] == past.min()
        assert row["label"] == int(((age < 0) & (age >= -28)).any())
        aisle = frame[(frame["owner_id"] == row["owner_id"]) & (frame["aisle"] == row["segment_parent"])]
        gone = (t - pd.to_datetime(aisle[DAY])).dt.days
        assert row["parent_lines_28d"] == ((gone >= 0) & (gone < 28)).sum()
    known = {(o, s) for o, d in zip(frame["owner_id"], day, strict=True) for s in SNAPSHOTS if d.date() <= s}
    assert len(found) == 3 * len(known), "a row for every known owner, snapshot and segment"


def test_later_events_change_labels_only(spark: Any) -> None:
    frame = events()
    last = SNAPSHOTS[-1]
    cut = frame[frame[DAY] <= last]
    whole, early = build(spark, frame), build(spark, cut)
    at = lambda rows: rows[rows["snapshot_date"] == last].drop(columns="label").reset_index(drop=True)  # noqa: E731
    pd.testing.assert_frame_equal(at(whole), at(early), check_like=True)


def test_a_new_segment_shows_no_history_of_its_own_and_rates_select(spark: Any) -> None:
    plain = build(spark, events(), CONFIG.model_copy(update={"own": False}))
    assert not [name for name in plain.columns if name.startswith("own_")]
    rates = build(spark, events()).groupby("segment")["label"].mean()
    high = float(rates.max())
    kept = build(spark, events(), CONFIG.model_copy(update={"rates": (high - 1e-9, 1.0)}))
    assert set(kept["segment"]) == set(rates[rates >= high - 1e-9].index)


def test_the_command_writes_rows_of_segments_beside_owner_features(remedi: Any, spark: Any, tmp_path: Path) -> None:
    frame = events().drop(columns=KNOWN).rename(columns={"owner_id": "owner", DAY: "day"})
    frame.to_parquet(tmp_path / "events.parquet")
    config = {
        "features": {
            "entity": "owner",
            "sources": {"e": {"path": str(tmp_path / "events.parquet"), "event_time": "day"}},
            "label": {"source": "e", "horizon_days": 28},
            "snapshots": {"start": "2026-03-01", "every_days": 28, "censored": "none"},
            "groups": {"total": {"source": "e", "windows": [28], "measures": {"lines": {"aggregate": "count"}}}},
        },
        "adapt": {"history": CONFIG.model_dump(mode="json")},
    }
    (tmp_path / "adapt.yaml").write_text(yaml.safe_dump(config))
    done = remedi("adapt", "tasks", "--config", str(tmp_path / "adapt.yaml"), "--root", str(tmp_path / "run"))
    assert done.code == 0, done.err
    rows = spark.read.format("delta").load(str(tmp_path / "run" / "segment_rows")).toPandas()
    assert set(rows["segment"]) == {"tea", "nuts", "soap"}
    assert rows["label"].notna().all()
    assert not rows.duplicated(["segment", "owner_id", "snapshot_date"]).any()
    own = rows.groupby(["owner_id", "snapshot_date"]).agg(
        total=("total_lines_28d", "first"), own=("own_lines_28d", "sum")
    )
    assert (own["total"] == own["own"]).all(), "the segments' lines add up to all lines"
