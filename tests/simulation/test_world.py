"""The world is the same however it is drawn, keeps its promises, and its labels come from the true probability."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import yaml
from pyspark.sql import functions as F

from remedi_spark.config.features import FeaturesConfig
from remedi_spark.errors import InputError
from remedi_spark.features.blueprint import prepare
from remedi_spark.features.quality import checked, find
from remedi_spark.simulation.draws import Draws
from remedi_spark.simulation.recall import expected_best_recall, recall_share
from remedi_spark.simulation.world import World, build, simulate

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

OWNERS, DAYS = 3_000, 400
CONF = Path(__file__).parents[2] / "conf" / "owners.yaml"


@pytest.fixture(scope="module")
def world(spark: SparkSession) -> dict[str, DataFrame]:
    return {name: frame.cache() for name, frame in build(spark, World(OWNERS, days=DAYS, base_rate=0.02)).items()}


def owners_config() -> FeaturesConfig:
    return FeaturesConfig.model_validate(yaml.safe_load(CONF.read_text(encoding="utf-8"))["features"])


def sources(world: dict[str, DataFrame]) -> dict[str, DataFrame]:
    return {
        "purchases": world["purchases"], "vehicles": world["vehicles"], "service": world["service_visits"],
        "web": world["web_visits"], "campaigns": world["campaigns"], "owners": world["owners"],
        "vehicle": world["vehicles"],
    }  # fmt: skip


def test_draws_are_uniform_normal_and_independent(spark: SparkSession) -> None:
    draws, key = Draws(1), F.col("id")
    frame = spark.range(40_000).select(
        draws.uniform("a", key).alias("u"), draws.uniform("b", key).alias("v"), draws.normal("a", key).alias("z"),
        draws.geometric(F.lit(2.0), "g", key).alias("n"), draws.uniform("a", key + 1).alias("next"),
    ).toPandas()  # fmt: skip
    five_errors = 5 / np.sqrt(len(frame))
    assert abs(frame["u"].mean() - 0.5) < five_errors * np.sqrt(1 / 12)
    assert abs(frame["u"].var() - 1 / 12) < five_errors * 0.08
    assert abs(frame["z"].mean()) < five_errors
    assert abs(frame["z"].var() - 1) < five_errors * np.sqrt(2)
    assert abs(frame["n"].mean() - 2) < five_errors * np.sqrt(6)
    assert abs(frame["u"].corr(frame["v"])) < five_errors
    assert abs(frame["u"].corr(frame["next"])) < five_errors
    assert frame["u"].between(0, 1, inclusive="neither").all()


def test_partitions_and_size_change_nothing(spark: SparkSession) -> None:
    """The same seed draws the same owners in a world of twice the size: calibration aside, nobody depends on others."""
    small, again = (build(spark, World(200, days=200, seed=3, late_share=0.1, dirty_share=0.1)) for _ in range(2))
    spark.conf.set("spark.sql.shuffle.partitions", "7")
    large = build(spark, World(400, days=200, seed=3, late_share=0.1, dirty_share=0.1))["web_visits"]
    spark.conf.set("spark.sql.shuffle.partitions", "2")
    for name in ("owners", "web_visits", "truth"):
        assert small[name].exceptAll(again[name].repartition(5)).isEmpty()
    mine = small["web_visits"].filter("owner_id IS NOT NULL")
    assert mine.exceptAll(large.filter("owner_id <= 200")).isEmpty()
    assert not mine.exceptAll(build(spark, World(200, days=200, seed=4))["web_visits"]).isEmpty()


def test_the_base_rate_is_the_one_asked_for(world: dict[str, DataFrame]) -> None:
    row = world["truth"].agg(F.avg("probability"), F.count("*"), F.sum(F.expr("probability * (1 - probability)")))
    mean, rows, variance = row.collect()[0]
    assert mean == pytest.approx(0.02, rel=0.002)
    bought = world["purchases"].count()
    assert abs(bought - mean * rows) < 5 * np.sqrt(variance)


def test_labels_are_drawn_from_the_true_probability(spark: SparkSession, world: dict[str, DataFrame]) -> None:
    """The label that features give a snapshot is the purchase of its period, and its rate follows the probability."""
    config = owners_config()
    blueprint = prepare(spark, config, sources(world))
    assert str(blueprint.grid.start) == "2024-03-24"
    truth = world["truth"].toPandas()
    labelled = {str(day) for day in blueprint.grid.labelled_days(config.label)}
    assert set(truth["snapshot_date"].astype(str)) == labelled
    bought = world["purchases"].select("owner_id", F.to_date("purchased_at").alias("day")).toPandas()
    merged = truth.merge(bought, on="owner_id", how="left")
    ahead = (pd.to_datetime(merged["day"]) - pd.to_datetime(merged["snapshot_date"])).dt.days
    merged["label"] = ahead.between(1, 28).astype(int)
    label = merged.groupby(["owner_id", "snapshot_date", "probability"])["label"].max().reset_index()
    deciles = label.groupby(pd.qcut(label["probability"], 10), observed=True)
    expected, seen = deciles["probability"].sum(), deciles["label"].sum()
    spread = deciles["probability"].agg(lambda p: np.sqrt((p * (1 - p)).sum()))
    assert (np.abs(seen - expected) < 5 * spread).all()
    assert seen.iloc[-1] > 5 * seen.iloc[0]


def test_bad_rows_are_added_and_the_contract_finds_each_of_them(
    spark: SparkSession, world: dict[str, DataFrame]
) -> None:
    dirty = build(spark, World(OWNERS, days=DAYS, base_rate=0.02, dirty_share=0.05))
    config = owners_config()
    tables = sources(world) | {"service": dirty["service_visits"]}
    good = world["service_visits"].count()
    source = config.sources["service"]
    rows = checked(tables["service"], source, config.entity, "service", tables, dt.date(2026, 1, 1))
    found = find(rows, source, "service")
    assert found.rows - found.failed == good
    assert found.failed == pytest.approx(0.05 * good, rel=0.2)
    assert (
        world["service_visits"]
        .exceptAll(rows.filter("size(__reasons) = 0").select(tables["service"].columns))
        .isEmpty()
    )


def test_late_events_keep_their_time(spark: SparkSession, world: dict[str, DataFrame]) -> None:
    late = build(spark, World(OWNERS, days=DAYS, base_rate=0.02, late_share=0.2))["campaigns"]
    assert late.drop("arrived_at").exceptAll(world["campaigns"].drop("arrived_at")).isEmpty()
    delay = F.datediff("arrived_at", "sent_at")
    row = late.agg(F.avg((delay > 0).cast("double")), F.min(delay), F.max(delay)).collect()[0]
    assert row[0] == pytest.approx(0.2, abs=0.02)
    assert (row[1], row[2]) == (0, 30)


def test_recall_beside_the_best_possible(spark: SparkSession) -> None:
    """K = 4 of 8 rows: the truth finds 3 of 4 positives; the score finds 2, one of them half, by a tie at the edge."""
    day = dt.date(2024, 3, 24)
    label = [1, 1, 0, 1, 0, 1, 0, 0]
    truth = [(n, day, (8 - n) / 10) for n in range(8)]
    score = [0.9, 0.1, 0.8, 0.7, 0.5, 0.5, 0.2, 0.1]
    scored = [(str(n), day, label[n], score[n]) for n in range(8)]
    found = recall_share(
        spark.createDataFrame(scored, "owner_id string, snapshot_date date, label int, score double"),
        spark.createDataFrame(truth, "owner_id bigint, snapshot_date date, probability double"),
        "score", 0.5,
    )  # fmt: skip
    assert (found.rows, found.positives, found.k) == (8, 4, 4)
    assert found.recall == pytest.approx(2.5 / 4)
    assert found.best == pytest.approx(3 / 4)
    assert found.share == pytest.approx(2.5 / 3)
    best = expected_best_recall(
        spark.createDataFrame(truth, "owner_id bigint, snapshot_date date, probability double"), 0.5
    )
    assert best == pytest.approx((0.8 + 0.7 + 0.6 + 0.5) / 3.6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"owners": 0}, "--owners: found 0, expected at least 1"),
        ({"base_rate": 1.0}, "--base-rate: found 1.0"),
        ({"late_share": -0.1}, "--late-share"),
        ({"days": 100}, "--days: found 100, expected at least 168"),
    ],
)
def test_a_world_that_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        World(**{"owners": 10, **options})


def test_a_folder_of_something_else_is_left_alone(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match="exists and is not a simulated world"):
        simulate(spark, World(10), str(tmp_path))


def test_the_tables_are_written_and_can_be_written_again(spark: SparkSession, tmp_path: Path) -> None:
    out = tmp_path / "world"
    world = World(20, days=168, dirty_share=0.1)
    first = simulate(spark, world, str(out))
    assert simulate(spark, world, str(out)) == first
    assert first["owners"] == first["vehicles"] == 20
    assert set(first) == {path.name for path in out.iterdir() if path.is_dir()}
