"""Measures from counts by bins of the score are those of the rows, to a ten-thousandth."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import functions as F

from remedi_spark.labels.binned import FINE, score_bin
from remedi_spark.labels.comparing import compare_models, fidelity
from remedi_spark.labels.measures import measure_models, measure_segments, measure_snapshots

ROWS, OWNERS, K, WITHIN = 60_000, 20_000, 4_500, 1e-4
SCORES = ("p", "margin", "tied", "none")


@pytest.fixture(scope="module")
def frame(spark: Any) -> Any:
    """Rare positives, three rows an owner of a like chance: probabilities, log-odds, many ties, a constant."""
    rng = np.random.default_rng(0)
    owner = rng.integers(0, OWNERS, ROWS)
    truth = rng.normal(-5, 1.3, OWNERS)[owner] + rng.normal(0, 0.3, ROWS)
    margin = truth + rng.normal(0, 0.7, ROWS)
    p = 1 / (1 + np.exp(-margin))
    table = pd.DataFrame({
        "owner_id": owner, "label": (rng.random(ROWS) < 1 / (1 + np.exp(-truth))).astype(float), "p": p,
        "margin": margin, "tied": np.round(p, 2), "none": 0.0, "teacher": truth,
        "level": rng.choice(["a", "b", "c"], ROWS, p=[0.7, 0.2, 0.1]),
    })  # fmt: skip
    return spark.createDataFrame(table).repartition(3).cache()


def test_bins_never_fall_as_the_score_rises(spark: Any) -> None:
    values = sorted([0.0, -0.0, 1e-300, -1e-300, 5e-324, 1.0, -1.0, 1e300, *np.random.default_rng(0).normal(0, 3, 200)])
    frame = spark.createDataFrame([(float(value),) for value in values], "score double")
    bins = [row[0] for row in frame.select(score_bin(F.col("score"), FINE)).collect()]
    assert bins == sorted(bins)
    assert len(set(bins)) > 200


def test_metrics_curves_and_intervals(frame: Any) -> None:
    exact, counted = (
        measure_models(frame, {name: F.col(name) for name in SCORES}, K, 100, many=many) for many in (False, True)
    )
    assert list(counted) == list(exact)
    for name, one in exact.items():
        other = counted[name]
        for metric, value in one.metrics.items():
            if value is None:
                assert other.metrics[metric] is None
                continue
            # Lift is a ratio, of ten here.
            assert other.metrics[metric] == pytest.approx(value, abs=WITHIN, rel=WITHIN, nan_ok=True), (name, metric)
        assert one.gains is not None and other.gains is not None
        # A point may fall inside of a bin that has positives: each is one of 900 here.
        np.testing.assert_allclose(other.gains.recall, one.gains.recall, atol=2e-3)
        assert len(other.reliability) == len(one.reliability)
        for mine, theirs in zip(one.reliability, other.reliability, strict=True):
            assert theirs.rows == pytest.approx(mine.rows, rel=0.01)
            assert theirs.predicted == pytest.approx(mine.predicted, rel=0.01)
    for metric, (low, high) in exact["p"].intervals.items():
        mine = counted["p"].intervals[metric]
        # Of a hundred resamples of 200 blocks either width is known to within some 10 %.
        assert (mine[1] - mine[0]) / (high - low) == pytest.approx(1, abs=0.4), metric
        assert mine[0] < counted["p"].metrics[metric] < mine[1]


def test_owners_are_drawn_whole(spark: Any) -> None:
    """Ten copies of every row tell no more than one: the interval must not narrow."""
    rng = np.random.default_rng(1)
    table = pd.DataFrame({"owner_id": np.arange(4000), "p": rng.random(4000)})
    table["label"] = (rng.random(4000) < table["p"] / 4).astype(float)
    once = spark.createDataFrame(table)
    ten = once.crossJoin(spark.range(10)).drop("id")
    widths = []
    for rows, k in ((once, 300), (ten, 3000)):
        low, high = measure_models(rows, {"p": F.col("p")}, k, 200, many=True)["p"].intervals["auc"]
        widths.append(high - low)
    assert widths[1] == pytest.approx(widths[0], rel=0.05)


def test_differences(frame: Any) -> None:
    pair = ("teacher", "margin")
    exact, counted = (compare_models(frame, [pair], K, 100, many=many)[pair] for many in (False, True))
    assert counted.value == pytest.approx(exact.value, abs=WITHIN)
    assert (counted.high - counted.low) / (exact.high - exact.low) == pytest.approx(1, abs=0.4)
    same = compare_models(frame, [("p", "p")], K, 20, many=True)["p", "p"]
    assert tuple(same) == (0, 0, 0)


def test_snapshots_and_segments(frame: Any) -> None:
    level, p = F.col("level"), F.col("p")
    for exact, counted in (
        [measure_snapshots(frame, p, level, 0.075, many=many) for many in (False, True)],
        [measure_segments(frame, p, {"level": level}, 0.02, 3, many=many) for many in (False, True)],
    ):
        assert len(exact) == len(counted) == 3
        for one, other in zip(exact, counted, strict=True):
            assert (other.rows, other.positives) == (one.rows, one.positives)
            assert other.ap == pytest.approx(one.ap, abs=WITHIN)
            assert other.recall_at_k == pytest.approx(one.recall_at_k, abs=10 * WITHIN)


def test_fidelity(frame: Any) -> None:
    with_days = frame.withColumn("snapshot_date", F.lit("2026-01-01"))
    (exact, cut), (counted, same_cut) = (
        fidelity(with_days, "margin", "teacher", K, many=many) for many in (False, True)
    )
    assert counted.spearman == pytest.approx(exact.spearman, abs=WITHIN)
    assert (counted.top_k_overlap, same_cut) == (pytest.approx(exact.top_k_overlap, abs=WITHIN), cut)
