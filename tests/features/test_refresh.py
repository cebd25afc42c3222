"""A refresh ends in the same bits as a full rebuild, touches only what it must, and survives being killed."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from feature_runs import TODAY, KilledError, declared, result, state
from naive_features import make_events
from pyspark.sql import functions as F

from remedi_spark.config.features import FeaturesConfig
from remedi_spark.errors import InputError
from remedi_spark.features import past_tables as feature_past
from remedi_spark.features import refresh_stage as feature_refresh
from remedi_spark.features import stage as features
from remedi_spark.features.state import Touched, read_state
from remedi_spark.storage.tables import Tables

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

pytestmark = pytest.mark.slow


def files_by_snapshot(tables: Tables) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for file in tables.read("owner_features").inputFiles():
        found.setdefault(file.split("snapshot_date=")[1].split("/")[0], set()).add(file)
    return found


def put_together(rows: DataFrame) -> DataFrame:
    """Return partials with one row for each owner, day and known day, however their rows were cut."""
    keys = [name for name in ("owner_id", "__day", "__known", "__cell", "__value") if name in rows.columns]
    cells = [name for name in rows.columns if name not in (*keys, "__known_month")]
    found = []
    for name in cells:
        if "__list__" in name and not name.endswith("__one"):
            lists = (F.coalesce(name, F.array()), F.array_compact(F.array(f"{name}__one")))
            found.append(F.array_sort(F.flatten(F.collect_list(F.concat(*lists)))).alias(name))
        elif name.endswith("__squares__amount__middle"):
            squares = F.sum(name) * 10**13 + F.sum(name.replace("__middle", "__low"))
            found.append(squares.alias(name))
        elif "__max__" in name or "__min__" in name:
            found.append((F.max if "__max__" in name else F.min)(name).alias(name))
        elif dict(rows.dtypes)[name] == "bigint" and "__squares__" not in name and not name.endswith(("__at", "__one")):
            found.append(F.sum(name).alias(name))
    return rows.groupBy(*keys).agg(*found) if found else rows


def assert_as_rebuilt(spark: SparkSession, tables: Tables, config: FeaturesConfig, folder: Path) -> None:
    rebuilt = Tables(spark, str(folder))
    features.run(rebuilt, config, today=TODAY)
    pd.testing.assert_frame_equal(result(tables), result(rebuilt), check_exact=True)
    assert state(tables)["counts"] == state(rebuilt)["counts"]
    names = ("events_daily", "events_values")
    for name in names:
        mine, theirs = (put_together(part.read(name)) for part in (tables, rebuilt))
        assert mine.exceptAll(theirs).isEmpty()
        assert theirs.exceptAll(mine).isEmpty()


def test_random_late_arrivals_and_a_crash(spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = make_events(rows=500)
    known = events[["at", "arrived"]].max(axis=1).dt.date
    cuts = [dt.date(2024, 4, 3), dt.date(2024, 4, 9), dt.date(2024, 4, 29)]
    source = tmp_path / "events"
    batches = [events[(known > low) & (known <= high)] for low, high in zip([dt.date.min, *cuts], cuts, strict=False)]
    assert all((batch["at"].dt.date < batch["arrived"].dt.date).any() for batch in batches)

    def append(batch: pd.DataFrame) -> None:
        spark.createDataFrame(batch).write.format("delta").mode("append").save(str(source))

    tables, config = Tables(spark, str(tmp_path / "run")), declared(source, every=True)
    append(batches[0])
    features.run(tables, config, today=TODAY)
    before = files_by_snapshot(tables)

    append(batches[1])
    with monkeypatch.context() as patch, pytest.raises(KilledError):
        # The partials are written, the snapshots are not.
        patch.setattr(feature_refresh, "_write_snapshots", lambda *_: (_ for _ in ()).throw(KilledError))
        features.run(tables, config, today=TODAY)
    assert state(tables)["pending"]
    features.run(tables, config, today=TODAY)
    assert state(tables)["mode"] == "refresh"
    after = files_by_snapshot(tables)
    label_reaches = dt.timedelta(days=config.label.gap_days + config.label.horizon_days)
    earliest = min(batches[1]["at"].dt.date.min(), cuts[0]) - label_reaches
    untouched = [day for day in before if dt.date.fromisoformat(day) < earliest]
    assert untouched
    assert all(before[day] == after[day] for day in untouched)

    # Tidied up in between, as platforms do by themselves: the same rows in other files.
    for path in (str(source), tables.location("owner_features"), tables.location("events_daily")):
        spark.sql(f"OPTIMIZE delta.`{path}`")
    append(batches[2])
    features.run(tables, config, today=TODAY)
    assert state(tables)["mode"] == "refresh"
    assert_as_rebuilt(spark, tables, config, tmp_path / "rebuilt")

    summary = features.run(tables, config, today=TODAY)
    assert state(tables)["mode"] == "unchanged"
    assert summary["rows"] == len(result(tables))
    with pytest.raises(InputError, match="2 of 2 rows break the contract"):
        append(events.head(2).assign(owner=np.nan).astype({"owner": "Int64"}))
        features.run(tables, config, today=TODAY)
    assert state(tables)["mode"] == "unchanged"


def test_deletes_and_updates_through_the_change_data_feed(spark: SparkSession, tmp_path: Path) -> None:
    source = tmp_path / "events"
    writer = spark.createDataFrame(make_events()).write.format("delta")
    writer.option("delta.enableChangeDataFeed", "true").save(str(source))
    tables, config = Tables(spark, str(tmp_path / "run")), declared(source, label={"at_risk_within_days": 9})
    features.run(tables, config, today=TODAY)
    first = result(tables)
    spark.sql(f"DELETE FROM delta.`{source}` WHERE owner = 3 AND at >= '2024-04-01' AND kind <> 'd'")
    spark.sql(f"UPDATE delta.`{source}` SET amount = amount * 2 WHERE owner = 5 AND at >= '2024-04-10'")
    spark.sql(f"UPDATE delta.`{source}` SET kind = if(kind = 'a', 'd', 'a') WHERE owner IN (6, 7)")
    features.run(tables, config, today=TODAY)
    assert state(tables)["mode"] == "refresh"
    assert not first.equals(result(tables))
    assert_as_rebuilt(spark, tables, config, tmp_path / "rebuilt")


def test_only_late_events_of_the_label_write_earlier_snapshots_again(spark: SparkSession, tmp_path: Path) -> None:
    source, events = tmp_path / "events", make_events()
    spark.createDataFrame(events).write.format("delta").save(str(source))
    tables, config = Tables(spark, str(tmp_path / "run")), declared(source)
    features.run(tables, config, today=TODAY)
    last = events[["at", "arrived"]].max(axis=1).max()
    happened = last - pd.Timedelta(40, "D")
    for kind in ("d", "a"):
        before = files_by_snapshot(tables)
        late = events.head(1).assign(at=happened, arrived=last, kind=kind)
        spark.createDataFrame(late).write.format("delta").mode("append").save(str(source))
        features.run(tables, config, today=TODAY)
        assert state(tables)["mode"] == "refresh"
        after = files_by_snapshot(tables)
        moved = {day for day in before if before[day] != after[day] and day < str(last.date())}
        assert bool(moved) is (kind == "a")
        assert all(day < str(happened.date()) for day in moved)
    assert_as_rebuilt(spark, tables, config, tmp_path / "rebuilt")


def test_the_long_past_is_read_in_short(spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is brought up as snapshots go on, believed only as it was written, and void when something reaches into it."""
    monkeypatch.setattr(feature_past, "BEHIND", 7)
    source, events = tmp_path / "events", make_events(rows=500)
    known = events[["at", "arrived"]].max(axis=1).dt.date
    tables, config = Tables(spark, str(tmp_path / "run")), declared(source)

    def run(low: dt.date, high: dt.date) -> Any:
        batch = events[(known > low) & (known <= high)]
        spark.createDataFrame(batch).write.format("delta").mode("append").save(str(source))
        features.run(tables, config, today=TODAY)
        return state(tables)["past"].get("events")

    cuts = [dt.date(2024, 3, 13), dt.date(2024, 4, 13), dt.date.max]
    assert run(dt.date.min, cuts[0])[0] == "2024-02-19"  # 30 days before the snapshot that follows
    kept = tables.read("events_past").toPandas()
    assert len(kept) == events[known <= dt.date(2024, 2, 19)]["owner"].nunique()
    assert run(cuts[0], cuts[1])[0] == "2024-02-19"  # 20 March is the first snapshot that is built
    written = read_state(tables)
    assert written is not None

    def believed(day: str) -> bool:
        return "events" in feature_past.still_true(tables, written, Touched({"events": [day]}))

    assert believed("2024-02-20")
    assert not believed("2024-02-19")
    ends = [F.lit(dt.date(2020, 1, 1)).alias(name) for name in kept.columns if name.startswith("__first__")]
    others = [name for name in kept.columns if not name.startswith("__first__")]
    tables.overwrite(tables.read("events_past").select(*others, *ends), "events_past")
    assert not believed("2024-02-20")
    with monkeypatch.context() as patch:
        patch.setattr(feature_refresh, "still_true", lambda _, before, __: before.past)
        assert run(cuts[1], cuts[2])[0] == "2024-03-26"
    assert result(tables)["total_first"].max() > 1000, "what stands there is read, and goes on into the next"

    early = events.head(1).assign(at=pd.Timestamp("2024-02-20"), arrived=pd.Timestamp("2024-02-20"))
    spark.createDataFrame(early).write.format("delta").mode("append").save(str(source))
    features.run(tables, config, today=TODAY)
    assert state(tables)["mode"] == "refresh"
    assert "events" not in state(tables)["past"]
    assert_as_rebuilt(spark, tables, config, tmp_path / "rebuilt")


def test_what_cannot_be_refreshed_is_rebuilt(spark: SparkSession, tmp_path: Path) -> None:
    """A folder of parquet files: a new file is a refresh, a rewritten one is not, nor are other snapshots."""
    source = tmp_path / "events.parquet"
    source.mkdir()
    events = make_events()
    known = events[["at", "arrived"]].max(axis=1).dt.date
    late = known > dt.date(2024, 4, 20)
    stored = events.astype({"at": "datetime64[us]", "arrived": "datetime64[us]"})
    stored[~late].to_parquet(source / "1.parquet")
    tables, config = Tables(spark, str(tmp_path / "run")), declared(source)
    features.run(tables, config, today=TODAY)
    stored[late].to_parquet(source / "2.parquet")
    features.run(tables, config, today=TODAY)
    assert state(tables)["mode"] == "refresh"
    assert_as_rebuilt(spark, tables, config, tmp_path / "rebuilt")
    before = result(tables)
    stored[~late].assign(amount=1.0).to_parquet(source / "1.parquet")
    features.run(tables, config, today=TODAY)
    assert state(tables)["mode"] == "full"
    assert result(tables)["total_spend_30d"].sum() < before["total_spend_30d"].sum() / 2
    features.run(tables, declared(source, snapshots={"every_days": 11}), today=TODAY)
    assert state(tables)["mode"] == "full"
