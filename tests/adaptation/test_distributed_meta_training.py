"""Meta-training on Spark: the number of workers does not matter; roles and refusals of segments."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from remedi_spark.config import load_config
from remedi_spark.config.adapt import AdaptConfig, SplitConfig, TaskConfig
from remedi_spark.errors import InputError
from remedi_spark.models.nets.inputs import InputStats
from remedi_spark.models.nets.models import build
from remedi_spark.samples.flat import FlatTable
from remedi_spark.samples.layout import Layout
from remedi_spark.segments.catalog import Catalog, catalogue
from remedi_spark.segments.maths import training
from remedi_spark.segments.meta_model import MetaBundle
from remedi_spark.segments.meta_training import meta_train, prepared, segments_of
from remedi_spark.segments.rows import hashed, read_segments, thin_out
from remedi_spark.segments.worker import recipe, task_source
from remedi_spark.spark.torch_partitions import run_together
from tests.adaptation.conftest import MetaTrainedWorld, fast, segment_world


def source(table: Any) -> FlatTable:
    return FlatTable(str(table), "bought", "owner", "day")


def _meta_train_from_a_fixed_start(config: AdaptConfig, layout: dict[str, Any], catalog: Catalog) -> Any:
    """Return what a worker runs: the meta-training alone, from a net that does not depend on the workers."""

    def work(table: pa.Table) -> bytes:
        slots = Layout.from_dict(layout)
        grid = np.linspace(-3, 3, 100)[:, None] * np.ones(slots.width)
        grid[:, slots.where("code")] = 0
        stats = InputStats.measure(grid, slots, 4)
        torch.manual_seed(0)
        net = build({**config.net.spec(), "stats": stats.to_dict()})
        segments = segments_of(table, slots)
        trained = training.meta_train(net, recipe(config), task_source(segments, catalog, config, 0))
        stored = io.BytesIO()
        torch.save((trained.losses, trained.model.net, trained.diverged, sorted(segments)), stored)
        return stored.getvalue()

    return work


def test_two_workers_equal_one(spark: Any, meta_trained: MetaTrainedWorld) -> None:
    """From the same start; the pooled start itself is trained on minibatches, which are dealt by worker."""
    found = {}
    for workers in (1, 2):
        config = fast(workers=workers)
        with prepared(spark, source(meta_trained.table), config, load_config().encoding) as ready:
            work = _meta_train_from_a_fixed_start(config, ready.encoder.layout.to_dict(), ready.catalog)
            results = run_together(ready.placed, work, workers)
        found[workers] = [torch.load(io.BytesIO(one), weights_only=True) for one in results]
    (alone,), (first, second) = found[1], found[2]
    assert first[3], "both workers hold segments"
    assert second[3], "both workers hold segments"
    assert sorted(first[3] + second[3]) == alone[3]
    np.testing.assert_allclose(first[0], alone[0], rtol=1e-5)
    for name, value in alone[1].items():
        torch.testing.assert_close(first[1][name], value, rtol=1e-4, atol=1e-5)
        assert torch.equal(first[1][name], second[1][name])


def test_meta_training_on_two_workers_leaves_a_meta_model(spark: Any, meta_trained: MetaTrainedWorld) -> None:
    trained = meta_train(spark, source(meta_trained.table), fast(workers=2), load_config().encoding, 0)
    assert trained.bundle.meta["diverged"] == 0
    assert set(trained.bundle.open().arms(10)) == {"pooled", "fine_tuned", "adapted", "bayes", "trees"}
    alone = MetaBundle.load(meta_trained.model).meta["validation"]
    assert {k: {arm: one["segments"] for arm, one in arms.items()} for k, arms in alone.items()} == {
        k: {arm: one["segments"] for arm, one in arms.items()} for k, arms in trained.bundle.meta["validation"].items()
    }


def test_the_meta_model_says_what_it_saw(meta_trained: MetaTrainedWorld) -> None:
    meta = json.loads((meta_trained.model / "meta.json").read_text())
    segments = meta["segments"]
    assert segments["test"] == ["brand 05", "brand 11"], "every sixth by name"
    assert not set(segments["train"]) & set(segments["validation"])
    assert len(segments["train"]) + len(segments["validation"]) == 10
    assert set(meta["validation"]) == {"5", "10"}
    assert meta["validation"]["5"]["pooled"]["difference"] == 0


def test_segments_that_cannot_be_used_are_refused_with_the_reason(spark: Any) -> None:
    frame = segment_world(8)
    frame.loc[frame["brand"] == "brand 00", "bought"] = 0
    frame.loc[frame["brand"] == "brand 01", "bought"] = 1
    buyers = frame[(frame["brand"] == "brand 02") & (frame["bought"] == 1)].index[3:]
    frame = frame.drop(buyers)
    rows = spark.createDataFrame(frame).selectExpr("brand segment", "owner owner_id", "cast(bought as double) label")
    found = catalogue(rows, TaskConfig(min_positives=5), SplitConfig(test_every=0, validation_every=2), "T")
    assert found.refused["brand 00"] == "no positive row"
    assert found.refused["brand 01"] == "no negative row"
    assert "3 owners with a positive, expected at least 10" in found.refused["brand 02"]
    assert len(found.train) + len(found.validation) == 5
    with pytest.raises(InputError, match="expected at least 2 to learn from and one to validate on"):
        catalogue(rows.where("segment = 'brand 03'"), TaskConfig(), SplitConfig(test_every=0), "T")


def test_label_definitions_make_one_segment_each_and_hide_what_they_read(spark: Any, tmp_path: Any) -> None:
    frame = pd.DataFrame(
        {"owner": list("abcd"), "x": [1.0, 2, 3, 4], "next_sushi": [0, 2, 0, 1], "next_soup": [1, 0, None, 0]}
    )
    frame.to_parquet(tmp_path / "owners.parquet")
    config = AdaptConfig(labels={"sushi": "next_sushi > 0", "soup": "next_soup > 0"})
    table = read_segments(spark, FlatTable(str(tmp_path / "owners.parquet"), "label", "owner"), config)
    assert table.contract.names == ["x"]
    rows = {(r["segment"], r["owner_id"]): r["label"] for r in table.rows.collect()}
    assert [rows["sushi", one] for one in "abcd"] == [0, 1, 0, 1]
    assert ("soup", "c") not in rows, "an unknown label is no row"
    assert rows["soup", "a"] == 1
    wrong = AdaptConfig(labels={"sushi": "no_such_column > 0"})
    with pytest.raises(InputError, match=r"adapt\.labels\.sushi"):
        read_segments(spark, FlatTable(str(tmp_path / "owners.parquet"), "label", "owner"), wrong)
    with pytest.raises(InputError, match="exactly one of"):
        read_segments(spark, FlatTable(str(tmp_path / "owners.parquet"), "label", "owner"), AdaptConfig())


def test_thinning_keeps_positives_and_the_rate(spark: Any) -> None:
    frame = segment_world(2, owners=2000)[["brand", "owner", "day", "bought"]]
    rows = spark.createDataFrame(frame).selectExpr(
        "brand segment", "owner owner_id", "day snapshot_date", "cast(bought as double) label"
    )
    kept = thin_out(hashed(rows), 300)
    assert sorted(map(tuple, kept.collect())) == sorted(
        map(tuple, thin_out(hashed(rows.repartition(5)), 300).collect())
    )
    local = kept.toPandas()
    assert local["label"].sum() == frame["bought"].sum()
    assert (local["label"] == 0).sum() == pytest.approx(4 * 300, rel=0.15)
    assert local.loc[local["label"] == 0, "weight"].sum() == pytest.approx((frame["bought"] == 0).sum(), rel=0.15)


def test_more_workers_than_slots_are_refused(spark: Any, meta_trained: MetaTrainedWorld) -> None:
    with pytest.raises(InputError, match=r"adapt\.workers: found 64"):
        meta_train(spark, source(meta_trained.table), fast(workers=64), load_config().encoding, 0)
