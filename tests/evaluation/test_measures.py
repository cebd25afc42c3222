"""Measures computed in Spark tasks against scikit-learn and pandas on the driver."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import functions as F
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score, brier_score_loss, ndcg_score, roc_auc_score

from remedi_spark.labels.comparing import compare_ranks, fidelity
from remedi_spark.labels.measured import Fidelity, Measured
from remedi_spark.labels.measures import measure_models, measure_segments, measure_snapshots
from remedi_spark.report.outline import Group, Listed, Outline, outline

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

K = 150
ROWS = 2000


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    truth = rng.normal(-3, 1.2, ROWS)
    student = truth + rng.normal(0, 0.5, ROWS)
    gate = rng.dirichlet([1, 2, 3], ROWS)
    return pd.DataFrame(
        {
            "owner_id": rng.integers(0, 700, ROWS),
            "label": (rng.random(ROWS) < 1 / (1 + np.exp(-truth))).astype(float),
            "teacher": truth,
            "student": student,
            "p": 1 / (1 + np.exp(-student)),
            "level": rng.choice(["a", "b", None], ROWS, p=[0.6, 0.3, 0.1]),
            "gate_one": gate[:, 0],
            "gate_two": gate[:, 1],
            "gate_three": gate[:, 2],
        }
    )


@pytest.fixture(scope="module")
def frame(spark: SparkSession, table: pd.DataFrame) -> Any:
    return spark.createDataFrame(table).repartition(3).cache()


@pytest.fixture(scope="module")
def measured(frame: Any) -> dict[str, Measured]:
    return measure_models(frame, {"student": F.col("p"), "teacher": F.col("teacher")}, K, resamples=50)


def test_metrics_are_those_of_scikit_learn(measured: dict[str, Measured], table: pd.DataFrame) -> None:
    assert list(measured) == ["student", "teacher"]
    for name, column in (("student", "p"), ("teacher", "teacher")):
        found = measured[name].metrics
        labels, scores = table["label"], table[column]
        top = labels[scores.nlargest(K).index].sum()
        assert found["ap"] == pytest.approx(average_precision_score(labels, scores))
        assert found["auc"] == pytest.approx(roc_auc_score(labels, scores))
        assert found["recall_at_k"] == pytest.approx(top / labels.sum())
        assert found["precision_at_k"] == pytest.approx(top / K)
        assert found["lift_at_k"] == pytest.approx(top / K / labels.mean())
        assert found["ndcg_at_k"] == pytest.approx(ndcg_score([labels], [scores], k=K))
    assert measured["student"].metrics["brier"] == pytest.approx(brier_score_loss(table["label"], table["p"]))


def test_intervals_hold_the_metric_and_curves_end_at_all(measured: dict[str, Measured]) -> None:
    for one in measured.values():
        for name, (low, high) in one.intervals.items():
            assert low < one.metrics[name] < high
        assert one.gains is not None
        share, recall = one.gains.share, one.gains.recall
        assert (len(share), share[0], share[-1], recall[-1]) == (200, 0.005, 1, 1)
        assert recall == sorted(recall)


def test_only_probabilities_have_a_reliability(measured: dict[str, Measured], table: pd.DataFrame) -> None:
    assert measured["teacher"].reliability == []
    bins = measured["student"].reliability
    rows = [one.rows for one in bins]
    assert sum(rows) == ROWS
    assert np.average([one.observed for one in bins], weights=rows) == pytest.approx(table["label"].mean())
    assert np.average([one.predicted for one in bins], weights=rows) == pytest.approx(table["p"].mean())


def test_a_score_that_only_ranks_has_no_calibration(frame: Any) -> None:
    """A mean rank lies in [0, 1] and is no probability."""
    found = measure_models(frame, {"rank_mean": F.col("p"), "p": F.col("p")}, K, resamples=0, only_rank=["rank_mean"])
    ranking, probability = found["rank_mean"], found["p"]
    assert ranking.reliability == []
    assert (ranking.metrics["brier"], ranking.metrics["ece"]) == (None, None)
    assert ranking.metrics["ap"] == probability.metrics["ap"]
    assert probability.metrics["brier"] is not None


def test_each_snapshot_has_its_own_top(frame: Any, table: pd.DataFrame) -> None:
    found = measure_snapshots(frame, F.col("p"), F.col("level"), budget=0.1)
    assert [one.snapshot for one in found] == ["a", "b"], "null is no snapshot"
    for one in found:
        part = table[table["level"] == one.snapshot]
        k = int(np.ceil(0.1 * len(part)))
        assert (one.rows, one.positives) == (len(part), part["label"].sum())
        assert one.ap == pytest.approx(average_precision_score(part["label"], part["p"]))
        assert one.recall_at_k == pytest.approx(part.nlargest(k, "p")["label"].sum() / part["label"].sum())


def test_a_snapshot_without_positives_is_told_not_lost(spark: SparkSession) -> None:
    rows = spark.createDataFrame([("a", 0.0, 0.1), ("a", 0.0, 0.2)], "day string, label double, p double")
    (found,) = measure_snapshots(rows, F.col("p"), F.col("day"), budget=0.5)
    assert (found.rows, found.positives, found.ap, found.recall_at_k) == (2, 0, None, None)


def test_segments_share_one_list(frame: Any, table: pd.DataFrame) -> None:
    cut = float(np.sort(table["p"])[-K])
    columns = {"level": F.col("level"), "tens": F.floor(F.col("owner_id") / 10)}
    found = measure_segments(frame, F.col("p"), columns, cut, levels=3)
    assert [(one.column, one.level) for one in found[:3]] == [
        ("level", "a"), ("level", "b"), ("level", "(missing)")
    ]  # fmt: skip
    assert len(found) == 6, "the most frequent levels only"
    level = table["level"].fillna("(missing)")
    listed = 0.0
    for one in found[:3]:
        part = table[level == one.level]
        top = part[part["p"] >= cut]
        assert (one.rows, one.positives) == (len(part), part["label"].sum())
        assert one.recall_at_k == pytest.approx(top["label"].sum() / part["label"].sum())
        assert one.lift_at_k == pytest.approx(top["label"].mean() / part["label"].mean())
        assert one.ap == pytest.approx(average_precision_score(part["label"], part["p"]))
        listed += one.recall_at_k * one.positives
    assert listed == pytest.approx(table["label"][table["p"] >= cut].sum()), "levels share out the list's positives"


def test_a_segment_that_nobody_lists_has_recall_0_and_no_lift(spark: SparkSession) -> None:
    rows = spark.createDataFrame(
        [("a", 1.0, 0.1), ("b", 0.0, 0.9), ("b", 1.0, 0.8)], "at string, label double, p double"
    )
    b, a = measure_segments(rows, F.col("p"), {"at": F.col("at")}, 0.5, levels=8)
    assert (b.level, b.recall_at_k, b.lift_at_k) == ("b", 1.0, 1.0)
    assert (a.level, a.recall_at_k, a.lift_at_k) == ("a", 0.0, None)


def test_fidelity_is_spearman_and_the_shared_top(frame: Any, table: pd.DataFrame) -> None:
    found, cut = fidelity(frame, "student", "teacher", K)
    assert found.spearman == pytest.approx(spearmanr(table["student"], table["teacher"]).statistic)
    shared = set(table["student"].nlargest(K).index) & set(table["teacher"].nlargest(K).index)
    assert found.top_k_overlap == pytest.approx(len(shared) / K)
    assert cut == np.sort(table["student"])[-K]
    same, _ = fidelity(frame.withColumn("copy", F.exp("teacher")), "copy", "teacher", K)
    assert same == Fidelity(spearman=1.0, top_k_overlap=1.0)


def test_ranks_of_a_constant_score_agree_with_nothing() -> None:
    found, cut = compare_ranks(np.array([0.5, 0.5, 0.5]), np.array([1.0, 2.0, 3.0]), k=1)
    assert (found.spearman, found.top_k_overlap, cut) == (None, 0.0, 0.5)
    with_ties, cut = compare_ranks(np.array([1.0, 1.0, 0.0]), np.array([3.0, 1.0, 2.0]), k=2)
    assert with_ties.spearman == pytest.approx(spearmanr([1, 1, 0], [3, 1, 2]).statistic)
    assert (with_ties.top_k_overlap, cut) == (0.5, 1.0)


def test_gates_are_averaged_over_all_and_by_decile(frame: Any, table: pd.DataFrame) -> None:
    experts = ["one", "two", "three"]
    gates = table[[f"gate_{name}" for name in experts]]
    spread = outline(frame, "teacher", experts, K / ROWS)
    found = spread.gate_use()
    np.testing.assert_allclose(found.mean_weight, gates.mean())
    assert found.entropy == pytest.approx(-(gates * np.log(gates)).sum(axis=1).mean() / np.log(3))
    by_decile = np.array(found.by_decile)
    assert by_decile.shape == (10, 3)
    np.testing.assert_allclose(by_decile.sum(axis=1), 1)
    assert spread.listed.on == (table["teacher"] >= spread.cut).sum()
    assert abs(spread.listed.on - K) <= 1e-3 * ROWS + 1
    assert spread.listed.on + spread.listed.off == ROWS


def test_deciles_start_with_the_best(spark: SparkSession) -> None:
    rows = [(float(i), float(i >= 900), float(i < 900)) for i in range(1000)]
    frame = spark.createDataFrame(rows, "teacher double, gate_top double, gate_rest double")
    by_decile = np.array(outline(frame, "teacher", ["top", "rest"], 0.1).gate_use().by_decile)
    assert by_decile[0, 0] > 0.85, "cuts are quantiles to within a hundredth"
    assert by_decile[2:, 0].max() == 0


def test_groups_add_up_to_means_and_the_list() -> None:
    groups = tuple(Group(i, i == 0, 2, (0.5 + i / 10, 1.5 - i / 10), math.log(2)) for i in range(10))
    split = (Group(0, False, 1, (1.0, 0.0), 0.0), *groups)
    spread = Outline(("a", "b"), 0.7, split)
    assert spread.listed == Listed(0.7, 2, 19)
    found = spread.gate_use()
    assert found.mean_weight == pytest.approx([10.5 / 21, 10.5 / 21])
    assert found.entropy == pytest.approx(10 / 21)
    assert found.by_decile[0] == pytest.approx([1.5 / 3, 1.5 / 3])
    assert found.by_decile[3] == pytest.approx([0.4, 0.6])
    assert Outline(("a", "b"), 0.7, groups[:9]).gate_use().by_decile == [], "no rows in the last decile"
