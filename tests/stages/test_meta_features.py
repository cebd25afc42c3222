"""Relative features: the fixture by hand, degenerate rows, peers and percentiles."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from remedi_spark.stages.meta_features import PER_MODEL, meta_columns, quantile_grids, relative_features

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

MODELS = ["m1", "m2", "m3", "m4"]
GRIDS = {model: [0.0, 0.01, 0.02, 0.05, 0.08] for model in MODELS}
FIXTURE = (0.02, 0.05, 0.01, 0.08)
CARRIED = "owner_id long, snapshot_date date, part string, label double, weight double, fold int, row_hash long"


def _row(owner: int, probabilities: tuple[float, ...], level: str | None = None, snapshot: date | None = None) -> Any:
    return (owner, snapshot, "train", 0.0, 1.0, 0, owner, *probabilities, level)


def _features(spark: SparkSession, rows: list[Any], peers: bool = False, partitions: int = 2) -> pd.DataFrame:
    schema = f"{CARRIED}, {', '.join(f'{model} double' for model in MODELS)}, f0 string"
    frame = spark.createDataFrame(rows, schema).repartition(partitions)
    found = relative_features(frame, MODELS, GRIDS, {"brand": "f0"} if peers else {}).toPandas()
    return found.sort_values(["owner_id", "snapshot_date"], ignore_index=True)


def _of(found: pd.DataFrame, kind: str, row: int = 0) -> list[float]:
    return found.loc[row, [f"{kind}_{model}" for model in MODELS]].tolist()


def test_the_fixture(spark: SparkSession) -> None:
    found = _features(spark, [_row(1, FIXTURE)])
    logits = np.log(FIXTURE) - np.log1p(-np.array(FIXTURE))
    np.testing.assert_allclose(_of(found, "d"), [-0.02, 0.01, -0.03, 0.04], atol=1e-12)
    np.testing.assert_allclose(_of(found, "zp"), [-0.7303, 0.3651, -1.0954, 1.4606], atol=1e-4)
    assert _of(found, "rank") == [3, 2, 4, 1]
    np.testing.assert_allclose(_of(found, "logit"), logits)
    np.testing.assert_allclose(_of(found, "dl"), logits - logits.mean())
    np.testing.assert_allclose(_of(found, "z"), (logits - logits.mean()) / logits.std(), rtol=1e-5)
    shared = found.loc[0, ["mean", "std", "range"]].tolist()
    np.testing.assert_allclose(shared, [logits.mean(), logits.std(), np.ptp(logits)])
    # The stored grid has five points; a value among them stands halfway through its own.
    np.testing.assert_allclose(_of(found, "q"), [0.5, 0.7, 0.3, 0.9])


def test_columns_are_those_announced(spark: SparkSession) -> None:
    found = _features(spark, [_row(1, FIXTURE)], peers=True)
    assert found.columns.tolist()[7:] == meta_columns(MODELS, ("brand",))
    assert len(meta_columns(MODELS)) == len(PER_MODEL) * 4 + 3


def test_models_that_agree_have_z_zero_and_ranks_in_model_order(spark: SparkSession) -> None:
    found = _features(spark, [_row(i, (p,) * 4) for i, p in enumerate((0.1, 1 / 3, 0.0, 1.0))])
    for row in range(4):
        np.testing.assert_allclose(_of(found, "z", row), 0, atol=1e-6)
        if row != 2:  # at a probability of exactly 0 there is no scale to divide by
            np.testing.assert_allclose(_of(found, "zp", row), 0, atol=1e-6)
        assert _of(found, "rank", row) == [1, 2, 3, 4]
    assert np.isfinite(found.filter(regex="logit|mean|std|range").to_numpy(dtype=float)).all()


def test_tied_models_rank_by_model_order(spark: SparkSession) -> None:
    assert _of(_features(spark, [_row(1, (0.2, 0.5, 0.2, 0.5))]), "rank") == [3, 1, 4, 2]


def test_every_row_stands_once_whatever_the_partitions(spark: SparkSession) -> None:
    rng = np.random.default_rng(0)
    days = [None, date(2026, 1, 1), date(2026, 1, 8)]
    rows = [
        _row(owner, tuple((rng.integers(0, 5, 4) / 10).tolist()), str(rng.integers(0, 3)), days[i])
        for owner in range(60)
        for i in range(3)
    ]
    one = _features(spark, rows, peers=True, partitions=1)
    assert len(one) == 180
    assert not one.duplicated(["owner_id", "snapshot_date"]).any()
    pd.testing.assert_frame_equal(_features(spark, rows[::-1], peers=True, partitions=7), one)


def test_peers_are_ranked_within_their_group_and_snapshot(spark: SparkSession) -> None:
    first, second = date(2026, 1, 1), date(2026, 1, 8)
    rows = [_row(i, (0.01 * i, 0.5, 0.5, 0.5), "a", first) for i in range(5)]
    rows += [_row(7, (0.9,) * 4, "b", first), _row(8, (0.2,) * 4, None, first), _row(9, (0.4,) * 4, None, first)]
    rows += [_row(0, (0.01,) * 4, "a", second), _row(1, (0.0,) * 4, "a", second)]
    found = _features(spark, rows, peers=True).set_index(["owner_id", "snapshot_date"])
    ranks = found["peer_brand_m1"].to_dict()
    assert [ranks[i, first] for i in range(5)] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert ranks[7, first] == 0, "a group of one owner"
    assert (ranks[8, first], ranks[9, first]) == (0, 1), "null is a group of its own"
    assert (ranks[0, second], ranks[1, second]) == (1, 0)
    assert [found["peer_brand_m2"][i, first] for i in range(5)] == [0.0] * 5, "all equal"


def test_percentiles_come_from_the_stored_grid_alone(spark: SparkSession) -> None:
    alone = _features(spark, [_row(1, (0.015, -1.0, 2.0, 0.05))])
    crowd = _features(spark, [_row(1, (0.015, -1.0, 2.0, 0.05)), *[_row(i, FIXTURE) for i in range(2, 30)]])
    assert _of(alone, "q") == _of(crowd, "q") == [0.4, 0.0, 1.0, 0.7]


def test_the_grid_holds_the_quantiles_of_the_training_rows(spark: SparkSession) -> None:
    values = np.random.default_rng(0).permutation(2001) / 2000
    frame = spark.createDataFrame(pd.DataFrame({"m1": values, "m2": values**2}))
    grids = quantile_grids(frame, ["m1", "m2"], 20, 2001)
    expected = np.linspace(0, 1, 21)
    np.testing.assert_allclose(grids["m1"], expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(grids["m2"], expected**2, rtol=0, atol=1e-12)
