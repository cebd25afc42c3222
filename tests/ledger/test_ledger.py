"""Work is done once, and again as soon as anything it was made from or anything it made is another."""

from __future__ import annotations

import shutil
from datetime import datetime, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pyspark.sql import functions as F

import remedi_spark
from remedi_spark import environment
from remedi_spark.samples.contents import content
from remedi_spark.storage import ledger
from remedi_spark.storage.ledger import LEDGER, Ledger, Unit
from remedi_spark.storage.tables import Tables

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

UNIT = Unit("copy", {"factor": 2}, reads=("numbers",), writes=("doubled",), files=("model/*.txt",))


class Copier:
    """A unit of work that counts how often it is done."""

    def __init__(self, tables: Tables, bundle: Path) -> None:
        self.tables, self.bundle, self.times = tables, bundle, 0

    def __call__(self) -> None:
        self.times += 1
        self.tables.overwrite(self.tables.read("numbers").selectExpr("id * 2 AS id"), "doubled")
        (self.bundle / "model").mkdir(exist_ok=True)
        (self.bundle / "model" / "1.txt").write_text("weights")


@pytest.fixture
def copier(spark: SparkSession, tmp_path: Path) -> Copier:
    tables = Tables(spark, str(tmp_path / "root"))
    tables.overwrite(spark.range(3), "numbers")
    return Copier(tables, tmp_path)


def done(copier: Copier, unit: Unit = UNIT, *, force: bool = False) -> bool:
    """Whether a new process does the work."""
    times = copier.times
    process = Ledger(copier.tables, copier.bundle, force)
    told = process.once(unit, copier)
    process.flush()
    assert told == (copier.times > times)
    return told


def test_work_is_done_once(copier: Copier) -> None:
    assert done(copier)
    assert not done(copier)
    assert done(copier, force=True)
    assert not done(copier)


def test_other_settings_or_another_input_ask_for_it_again(copier: Copier, spark: SparkSession) -> None:
    assert done(copier)
    assert done(copier, Unit("copy", {"factor": 3}, UNIT.reads, UNIT.writes, UNIT.files))
    assert done(copier)  # what the other setting has written meanwhile is not what this one left
    copier.tables.overwrite(spark.range(4), "numbers")
    assert done(copier)
    assert not done(copier)


def test_another_environment_asks_for_it_again(copier: Copier, monkeypatch: pytest.MonkeyPatch) -> None:
    assert done(copier)
    for name, value in {"code_hash": lambda: "other", "libraries": lambda: {"lightgbm": "5"}}.items():
        with monkeypatch.context() as changed:
            changed.setattr(environment, name, value)
            assert done(copier), name
    spark = copier.tables.spark
    ansi = spark.conf.get("spark.sql.ansi.enabled")
    others = {
        "spark.sql.session.timeZone": "Asia/Tokyo",
        "spark.sql.ansi.enabled": "false" if ansi == "true" else "true",
    }
    for name, value in others.items():
        before = spark.conf.get(name)
        spark.conf.set(name, value)
        try:
            assert done(copier), name
        finally:
            spark.conf.set(name, str(before))
        assert done(copier)  # the other environment has written meanwhile
    assert not done(copier)


def test_the_hash_of_the_code_covers_all_of_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = Path(remedi_spark.__file__).parent
    copy = tmp_path / "remedi_spark"
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__"))
    here = environment.code_hash.__wrapped__()
    monkeypatch.setattr(environment.resources, "files", lambda _: copy)
    first = environment.code_hash.__wrapped__()
    assert first == here
    for name in ("ensemble/fuser_net.py", "config/presets/standard.yaml"):
        (copy / name).write_text((copy / name).read_text() + "\n")
        other = environment.code_hash.__wrapped__()
        assert other != first
        first = other


def test_a_view_is_known_by_its_definition_too(spark: SparkSession, tmp_path: Path) -> None:
    spark.createDataFrame([(i, float(i), "x") for i in range(9)], "id long, a double, b string").write.parquet(
        str(tmp_path / "t.parquet")
    )
    frame = spark.read.parquet(str(tmp_path / "t.parquet"))

    def look(where: str, columns: int = 1) -> Any:
        more = [(F.col("a") + i).alias(f"a{i}") for i in range(columns)]
        frame.where(where).select("*", *more).createOrReplaceTempView("remedi_view_test")
        return content(spark, "remedi_view_test")

    try:
        assert look("id < 5") == look("id < 5")
        assert look("id < 5") != look("id < 6")
        assert look("id < 5", 40) != look("id < 5", 41), "also beyond the fields that Spark prints"
        spark.sql("CREATE SCHEMA IF NOT EXISTS view_test")
        found = []
        for condition in ("id < 5", "id < 6", "id < 6"):
            spark.sql(
                "CREATE OR REPLACE VIEW view_test.v AS SELECT * FROM"
                f" parquet.`{tmp_path / 't.parquet'}` WHERE {condition}"
            )
            found.append(content(spark, "view_test.v"))
        assert found[0] != found[1] == found[2]
    finally:
        spark.catalog.dropTempView("remedi_view_test")
        spark.sql("DROP SCHEMA IF EXISTS view_test CASCADE")


def test_what_was_changed_or_deleted_is_made_again(copier: Copier, spark: SparkSession) -> None:
    assert done(copier)
    (copier.bundle / "model" / "1.txt").write_text("damaged")
    assert done(copier)
    (copier.bundle / "model" / "1.txt").unlink()
    assert done(copier)
    copier.tables.overwrite(spark.range(1), "doubled")
    assert done(copier)
    assert not done(copier)


def test_work_that_failed_is_not_done(copier: Copier) -> None:
    def fail() -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        Ledger(copier.tables, copier.bundle).once(UNIT, fail)
    assert done(copier)


def test_a_ledger_of_an_older_version_counts_for_nothing(copier: Copier, spark: SparkSession) -> None:
    copier.tables.overwrite(spark.createDataFrame([("copy", "abc")], "step string, hash string"), LEDGER)
    assert done(copier)
    assert not done(copier)
    assert copier.tables.read(LEDGER).count() == 2


def test_a_clock_that_went_back_neither_skips_nor_repeats_work(copier: Copier, monkeypatch: pytest.MonkeyPatch) -> None:
    class Future(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # plain: Spark takes no subclass
            return datetime(2100, 1, 1, tzinfo=tz)

    with monkeypatch.context() as clock:
        clock.setattr(ledger, "datetime", Future)
        assert done(copier)
    other = Unit("copy", {"factor": 3}, UNIT.reads, UNIT.writes, UNIT.files)
    assert done(copier, other)
    assert not done(copier, other)
    assert done(copier)
    assert not done(copier)
