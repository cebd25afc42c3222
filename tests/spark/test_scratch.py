"""Rows that a session does not keep are written to files, read from there, and gone in the end."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from remedi_spark.spark import kept as keeping
from remedi_spark.spark import scratch
from remedi_spark.spark.capabilities import Capabilities, asked_for, capabilities, is_local, offer
from remedi_spark.spark.kept import kept
from remedi_spark.spark.plans import analysed_plan
from remedi_spark.storage.tables import Tables

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

NONE = Capabilities(has_jvm=False, can_cache=False, can_barrier=False)


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, spark: SparkSession) -> Iterator[SparkSession]:
    """The session, as if it could keep nothing."""
    for module in (keeping, scratch):
        monkeypatch.setattr(module, "capabilities", lambda _: NONE)
    yield spark
    scratch._places.pop(spark, None)


def odd(spark: SparkSession) -> DataFrame:
    return spark.sql(
        "SELECT id AS `a, b`, array(double(id), double('NaN')) AS `größe {m}`, map('k', id) AS `x.y`,"
        " CAST(NULL AS date) AS day FROM range(5)"
    )


def files(folder: Path) -> list[Path]:
    return list(folder.rglob(f"*{scratch.PREFIX}*"))


def test_rows_are_in_files_while_they_are_needed(bare: SparkSession, tmp_path: Path) -> None:
    Tables(bare, str(tmp_path)).offer_scratch()
    frame = odd(bare)
    with kept(frame) as rows:
        assert len(files(tmp_path)) == 1
        assert (rows.columns, rows.dtypes) == (frame.columns, frame.dtypes)
        assert sorted(map(str, rows.collect())) == sorted(map(str, frame.collect()))
    assert not files(tmp_path)


def test_they_go_when_the_work_fails(bare: SparkSession, tmp_path: Path) -> None:
    scratch.keep_in_folder(bare, tmp_path)
    with pytest.raises(ZeroDivisionError), kept(odd(bare)):
        raise ZeroDivisionError
    assert not files(tmp_path)


def test_frames_that_outlive_the_work_are_computed_again(bare: SparkSession, tmp_path: Path) -> None:
    scratch.keep_in_folder(bare, tmp_path)
    with kept(odd(bare), scratch=False) as rows:
        later = rows.where("`a, b` > 2")
        assert not files(tmp_path)
    assert later.count() == 2


def _tables(spark: SparkSession) -> int:
    """Count the tables of the schema, without the views of other tests of this session."""
    return spark.sql("SHOW TABLES IN scratch_rows").where("NOT isTemporary").count()


def test_a_schema_holds_them_as_tables(bare: SparkSession) -> None:
    bare.sql("CREATE SCHEMA IF NOT EXISTS scratch_rows")
    Tables(bare, "scratch_rows", catalog=True).offer_scratch()
    with kept(odd(bare)) as rows:
        assert _tables(bare) == 1
        assert rows.columns == odd(bare).columns
    assert _tables(bare) == 0


def test_what_a_killed_run_has_left_is_removed_after_a_day(bare: SparkSession, tmp_path: Path) -> None:
    old, new = (tmp_path / f".{scratch.PREFIX}{name}" for name in ("old", "new"))
    for one in (old, new):
        one.mkdir()
    before = time.time() - 2 * 24 * 3600
    os.utime(old, (before, before))
    scratch.keep_in_folder(bare, tmp_path)
    assert (old.exists(), new.exists()) == (False, True)


def test_a_session_that_keeps_rows_writes_none(spark: SparkSession, tmp_path: Path) -> None:
    Tables(spark, str(tmp_path)).offer_scratch()
    with kept(odd(spark)) as rows:
        assert rows.count() == 5
        assert bool(files(tmp_path)) is not capabilities(spark).can_cache


def test_a_refused_setting_stops_nothing(spark: SparkSession) -> None:
    zone = "spark.sql.session.timeZone"
    assert offer(spark, {"spark.sql.extensions": "none", zone: "UTC"}) == ["spark.sql.extensions"]
    with asked_for(spark, "spark.sql.extensions", "none") as granted:
        assert not granted
    with asked_for(spark, zone, "Europe/Berlin") as granted:
        assert granted
        assert spark.conf.get(zone) == "Europe/Berlin"
    assert spark.conf.get(zone) == "UTC"


def test_a_plan_is_the_same_until_the_query_is_another(spark: SparkSession) -> None:
    one, other = (f"SELECT id FROM range(5) WHERE id > {limit}" for limit in (1, 2))
    if not capabilities(spark).has_jvm:
        assert analysed_plan(spark.sql(one)) == analysed_plan(spark.sql(one))
    assert analysed_plan(spark.sql(one)) != analysed_plan(spark.sql(other))
    assert is_local(spark)
