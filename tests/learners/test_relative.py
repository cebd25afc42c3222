"""Relative features: the fixture by hand, the same by window functions, degenerate rows, peers and percentiles."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyspark.sql import Window
from pyspark.sql import functions as F

from remedi_spark.ensemble.peers import quantile_grids, with_peer_ranks
from remedi_spark.ensemble.relative import PER_MODEL, PER_ROW, Relative, peer_names, relative_names
from remedi_spark.labels.alignment import log_odds

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

MODELS = ["m1", "m2", "m3", "m4"]
GRIDS = {model: [0.0, 0.01, 0.02, 0.05, 0.08] for model in MODELS}
FIXTURE = (0.02, 0.05, 0.01, 0.08)
RELATIVE = Relative(MODELS, GRIDS, log_odds)


def _features(*rows: Any) -> dict[str, Any]:
    return RELATIVE(pa.table(dict(zip(MODELS, np.array(rows).T, strict=True))))


def _of(found: dict[str, Any], kind: str, row: int = 0) -> list[float]:
    return [float(found[f"{kind}_{model}"][row]) for model in MODELS]


def test_the_fixture() -> None:
    found = _features(FIXTURE)
    logits = np.log(FIXTURE) - np.log1p(-np.array(FIXTURE))
    np.testing.assert_allclose(_of(found, "d"), [-0.02, 0.01, -0.03, 0.04], atol=1e-12)
    np.testing.assert_allclose(_of(found, "zp"), [-0.7303, 0.3651, -1.0954, 1.4606], atol=1e-4)
    assert _of(found, "rank") == [3, 2, 4, 1]
    np.testing.assert_allclose(_of(found, "logit"), logits)
    np.testing.assert_allclose(_of(found, "dl"), logits - logits.mean())
    np.testing.assert_allclose(_of(found, "z"), (logits - logits.mean()) / logits.std(), rtol=1e-5)
    np.testing.assert_allclose([found[name][0] for name in PER_ROW], [logits.mean(), logits.std(), np.ptp(logits)])
    # The stored grid has five points; a value among them stands halfway through its own.
    np.testing.assert_allclose(_of(found, "q"), [0.5, 0.7, 0.3, 0.9])


def test_names_are_those_announced() -> None:
    assert list(_features(FIXTURE)) == relative_names(MODELS) == RELATIVE.names
    assert len(relative_names(MODELS)) == len(PER_MODEL) * 4 + 3
    assert relative_names(MODELS, ("brand",))[-4:] == [f"peer_brand_{m}" for m in MODELS]


def test_a_batch_without_rows_has_the_same_columns() -> None:
    empty = RELATIVE(pa.table({model: pa.array([], pa.float64()) for model in MODELS}))
    assert list(empty) == RELATIVE.names
    assert {values.shape for values in empty.values()} == {(0,)}


def test_models_that_agree_have_z_zero_and_ranks_in_model_order() -> None:
    found = _features(*[(p,) * 4 for p in (0.1, 1 / 3, 0.0, 1.0)])
    for row in range(4):
        np.testing.assert_allclose(_of(found, "z", row), 0, atol=1e-6)
        if row != 2:  # at a probability of exactly 0 there is no scale to divide by
            np.testing.assert_allclose(_of(found, "zp", row), 0, atol=1e-6)
        assert _of(found, "rank", row) == [1, 2, 3, 4]
    assert all(np.isfinite(values).all() for values in found.values())


def test_tied_models_rank_by_model_order() -> None:
    assert _of(_features((0.2, 0.5, 0.2, 0.5)), "rank") == [3, 1, 4, 2]


def test_percentiles_come_from_the_stored_grid_alone() -> None:
    alone = _features((0.015, -1.0, 2.0, 0.05))
    crowd = _features((0.015, -1.0, 2.0, 0.05), *[FIXTURE] * 28)
    assert _of(alone, "q") == _of(crowd, "q") == [0.4, 0.0, 1.0, 0.7]


@pytest.mark.parametrize("seed", [0, 1])
def test_window_functions_give_the_same(spark: SparkSession, seed: int) -> None:
    """The definition as Spark writes it: a window over the models of a row."""
    scores = np.round(np.random.default_rng(seed).beta(0.5, 8, (200, 4)), 2)  # with ties
    wide = pd.DataFrame(scores, columns=MODELS).assign(owner_id=range(200))
    long = spark.createDataFrame(wide.melt("owner_id", var_name="model", value_name="p"))
    inside = F.greatest(F.least("p", F.lit(1 - 1e-12)), F.lit(1e-12))
    row = Window.partitionBy("owner_id")
    long = long.withColumn("l", F.log(inside) - F.log1p(-inside))
    mean, spread, mean_p, spread_p = (f(c).over(row) for c in ("l", "p") for f in (F.avg, F.stddev_pop))
    p, logit = F.col("p"), F.col("l")
    by_window = long.select(
        "owner_id", "model", logit.alias("logit"), (p - mean_p).alias("d"), (logit - mean).alias("dl"),
        ((logit - mean) / (spread + 1e-6)).alias("z"),
        ((p - mean_p) / (spread_p + 1e-6 * F.abs(mean_p) + 1e-300)).alias("zp"),
        F.row_number().over(row.orderBy(F.desc("p"), "model")).cast("double").alias("rank"),
        mean.alias("mean"), spread.alias("std"), (F.max("l").over(row) - F.min("l").over(row)).alias("range"),
    ).toPandas()  # fmt: skip
    found = _features(*scores)
    for model, part in by_window.groupby("model"):
        ordered = part.sort_values("owner_id")
        for kind in ("logit", "d", "dl", "rank"):
            np.testing.assert_allclose(found[f"{kind}_{model}"], ordered[kind], rtol=1e-9, atol=1e-9)
        for kind in ("z", "zp"):  # rounding of σ near 0 is divided by ε
            np.testing.assert_allclose(found[f"{kind}_{model}"], ordered[kind], rtol=1e-6, atol=1e-6)
        for kind in PER_ROW:
            np.testing.assert_allclose(found[kind], ordered[kind], rtol=1e-9, atol=1e-9)


def test_peers_are_ranked_within_their_group_and_snapshot(spark: SparkSession) -> None:
    first, second = date(2026, 1, 1), date(2026, 1, 8)
    rows: list[Any] = [(i, first, 0.01 * i, 0.5, "a") for i in range(5)]
    rows += [(7, first, 0.9, 0.9, "b"), (8, first, 0.2, 0.2, None), (9, first, 0.4, 0.4, None)]
    rows += [(0, second, 0.01, 0.01, "a"), (1, second, 0.0, 0.0, "a")]
    schema = "owner_id long, snapshot_date date, m1 double, m2 double, f0 string"
    found = {}
    for partitions in (1, 7):
        samples = spark.createDataFrame(rows, schema).withColumns({"source": F.lit("train"), "label": F.lit(0.0)})
        scores = samples.drop("f0", "source", "label").repartition(partitions)
        ranked = with_peer_ranks(scores, samples, ["m1", "m2"], {"brand": "f0"}, own_test=False)
        assert ranked.columns[-2:] == peer_names(["m1", "m2"], ["brand"])
        found[partitions] = ranked.toPandas().set_index(["owner_id", "snapshot_date"]).sort_index()
    pd.testing.assert_frame_equal(found[1], found[7])
    ranks = found[1]["peer_brand_m1"].to_dict()
    assert len(found[1]) == len(rows)
    assert [ranks[i, first] for i in range(5)] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert ranks[7, first] == 0, "a group of one owner"
    assert (ranks[8, first], ranks[9, first]) == (0, 1), "null is a group of its own"
    assert (ranks[0, second], ranks[1, second]) == (1, 0)
    assert [found[1]["peer_brand_m2"][i, first] for i in range(5)] == [0.0] * 5, "all equal"


def test_peer_ranks_join_what_the_fuser_reads() -> None:
    relative = Relative(["m1"], {"m1": [0.0, 1.0]}, log_odds, ("brand",))
    found = relative(pa.table({"m1": [0.1, 0.2], "peer_brand_m1": [0.0, 1.0]}))
    assert list(found) == relative.names
    assert found["peer_brand_m1"].tolist() == [0.0, 1.0]


def test_the_grid_holds_the_quantiles_of_the_training_rows(spark: SparkSession) -> None:
    values = np.random.default_rng(0).permutation(2001) / 2000
    frame = spark.createDataFrame(pd.DataFrame({"m1": values, "m2": values**2}))
    grids = quantile_grids(frame, ["m1", "m2"], 20, 2001)
    expected = np.linspace(0, 1, 21)
    np.testing.assert_allclose(grids["m1"], expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(grids["m2"], expected**2, rtol=0, atol=1e-12)
