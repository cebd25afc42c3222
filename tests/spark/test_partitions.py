"""Where rows lie: the same order for a fit, and joins in which a null snapshot equals itself."""

from __future__ import annotations

from datetime import date
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from pyspark.sql import functions as F

from remedi_spark.spark.joins import join_rows
from remedi_spark.spark.partitions import _configured_slots, in_one_task, place, row_hash, shape, slots, uniform
from remedi_spark.spark.torch_partitions import run_together

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.mark.parametrize("workers", [1, 2])
def test_a_fit_sees_its_rows_in_hash_order_however_they_lay(spark: SparkSession, workers: int) -> None:
    rows = (
        spark.range(500).withColumnRenamed("id", "owner_id").selectExpr("owner_id", "cast(null as date) snapshot_date")
    )
    hashed = rows.withColumn("row_hash", row_hash())
    seen = []
    for partitions in (1, 7, 7):
        parts = shape(hashed.repartition(partitions), workers).select("row_hash").rdd.glom().collect()
        assert len(parts) == workers
        assert all(part == sorted(part) for part in parts)
        assert min(len(part) for part in parts) > 500 / workers - 5 * 500**0.5 / 2, "evenly spread"
        seen.append(parts)
    assert seen[0] == seen[1] == seen[2]
    assert len({row["row_hash"] for part in parts for row in part}) == 500


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_rows_go_to_the_partition_they_are_meant_for(spark: SparkSession, workers: int) -> None:
    rows = spark.range(100).selectExpr("id", f"cast(id * id % {workers} as int) at", "xxhash64(id) row_hash")
    placed = place(rows.repartition(3), F.col("at"), workers)
    assert placed.rdd.getNumPartitions() == workers
    found = placed.withColumn("partition", F.spark_partition_id()).toPandas()
    assert (found["at"] == found["partition"]).all()
    assert found.groupby("partition")["row_hash"].is_monotonic_increasing.all()
    assert sorted(found["id"]) == list(range(100))


def test_uniform_is_uniform_and_depends_on_the_seed(spark: SparkSession) -> None:
    found = spark.range(4000).select(uniform("id", 1).alias("a"), uniform("id", 2).alias("b")).toPandas()
    assert found["a"].between(0, 1, inclusive="left").all()
    assert found["a"].mean() == pytest.approx(0.5, abs=5 * (1 / 12 / 4000) ** 0.5)
    assert abs(found["a"].corr(found["b"])) < 5 / 4000**0.5


def test_rows_join_on_a_null_snapshot(spark: SparkSession) -> None:
    schema = "owner_id long, snapshot_date date, part string, label double"
    day = date(2026, 1, 1)
    left = spark.createDataFrame([(1, None, "train", 1.0), (1, day, "train", 0.0), (2, None, "test", 0.0)], schema)
    right = spark.createDataFrame(
        [(1, None, "train", 9.0, "x"), (1, day, "train", 9.0, "y"), (2, None, "train", 9.0, "z")],
        f"{schema}, score string",
    )
    inner = sorted(
        (row["snapshot_date"] is None, row["label"], row["score"]) for row in join_rows(left, right).collect()
    )
    assert inner == [(False, 0.0, "y"), (True, 1.0, "x")], "a test row is not a train row, the left label stays"
    outer = join_rows(left, right, "left")
    assert outer.columns == ["owner_id", "snapshot_date", "part", "label", "score"]
    assert outer.count() == 3


def test_all_partitions_run_as_one_group_empty_ones_too(spark: SparkSession) -> None:
    def total(table: pa.Table) -> bytes:
        import torch

        from remedi_spark.models.nets.workers import gather, rank, sum_over_workers

        mine = torch.tensor([float(sum(table.column("id").to_pylist()))])
        return repr((rank(), float(sum_over_workers(mine)), sorted(gather(table.num_rows)))).encode()

    lopsided = spark.range(10).repartition(2, F.lit(0))
    assert run_together(lopsided, total, 2) == [b"(0, 45.0, [0, 10])", b"(1, 45.0, [0, 10])"]
    assert run_together(spark.range(10).repartition(1), total, 1) == [b"(0, 45.0, [10])"]


def test_one_task_needs_no_barrier(spark: SparkSession) -> None:
    """Under dynamic allocation Spark has no barrier stages; and it tries a plain task again."""

    def kind(table: pa.Table) -> bytes:
        from pyspark import TaskContext

        return type(TaskContext.get()).__name__.encode()

    assert run_together(spark.range(3).repartition(1), kind, 1) == [b"TaskContext"]
    assert run_together(spark.range(3).repartition(2), kind, 2) == [b"BarrierTaskContext"] * 2


def test_slots_are_counted_not_guessed(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(spark.sparkContext), "defaultParallelism", 64)
    assert slots(spark) == 2


@pytest.mark.parametrize(
    ("master", "settings", "expected"),
    [
        ("local[6]", {"spark.task.cpus": "2"}, 3), ("local", {}, 1),
        ("yarn", {"spark.executor.instances": "5", "spark.executor.cores": "7", "spark.task.cpus": "2"}, 15),
        ("yarn", {}, 64),
    ],
)  # fmt: skip
def test_before_executors_are_there_the_settings_tell(master: str, settings: dict[str, str], expected: int) -> None:
    known = {"spark.master": master, **settings}
    context = SimpleNamespace(defaultParallelism=64)
    session = SimpleNamespace(conf=SimpleNamespace(get=known.get), sparkContext=context, _jsparkSession=None)
    assert _configured_slots(session) == expected  # type: ignore[arg-type]


def test_one_task_reads_the_rows_in_the_order_of_a_shuffle(spark: SparkSession) -> None:
    hashed = spark.range(1000).select(F.xxhash64("id").alias("row_hash"))
    [alone] = in_one_task(hashed.repartition(5)).rdd.glom().collect()
    [shuffled] = shape(hashed, 1).rdd.glom().collect()
    assert alone == shuffled
    assert len(alone) == 1000
