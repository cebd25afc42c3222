"""The choice between kinds of row weights: trial fits find out whether a long tail can be predicted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pyspark.sql import functions as F

from remedi_spark.config.regression import TRIED, LDSConfig, Weighting
from remedi_spark.errors import InputError
from remedi_spark.labels import weights as label_weights
from remedi_spark.labels.counts import weigh
from remedi_spark.labels.weights import Errors, best_weights, row_weight, try_weights
from remedi_spark.maths.label_density import LabelDensity, width_edges
from remedi_spark.maths.label_scale import LabelScale
from remedi_spark.maths.relevance import Relevance
from remedi_spark.models import cross_fit
from remedi_spark.models.cross_fit import FoldFits, fit_fold
from remedi_spark.models.predict import score_by_fold
from remedi_spark.samples.layout import Layout, Slot
from remedi_spark.spark.partitions import uniform
from remedi_spark.storage.fitted import Fitted

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

LAYOUT = Layout((Slot(0, "number"), Slot(1, "number")))
FOLDS = 3


def world(predictable: bool, rows: int = 3000) -> tuple[np.ndarray, np.ndarray]:
    """Two columns and a label with a long tail, which one column tells nearly all of, or nothing."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, 2))
    tail = rng.normal(size=rows)
    return x, np.exp(3 + (x[:, 0] + 0.3 * tail if predictable else 1.2 * tail))


def trial(
    spark: SparkSession, x: np.ndarray, y: np.ndarray
) -> tuple[DataFrame, dict[str, LabelDensity], LabelScale, FoldFits]:
    """Return what :func:`try_weights` takes; one row an owner."""
    learned = np.arcsinh(y / np.median(y))
    scale = LabelScale("asinh", float(np.median(y)), float(learned.mean()), float(learned.std()), 0.0)
    margins = scale.margin(y)
    edges = width_edges(margins.min(), margins.max(), 40)
    counts, _ = np.histogram(margins, edges)
    densities = {
        one.name: LabelDensity.from_histogram(edges, counts, reweight=one.kind, exact=True).mixed(one.share)
        for one in TRIED
    }
    owners = range(len(y))
    data: list[tuple[object, ...]] = [
        (f"o{i}", i % FOLDS, i // FOLDS, i, 1.0, float(y[i]), float(margins[i]), x[i].tolist(), [[]] * (FOLDS + 1))
        for i in owners
    ]
    schema = (
        "owner_id string, fold int, block int, row_hash long, weight double, label double, target double,"
        " x array<double>, te array<array<double>>"
    )
    plan = FoldFits(LAYOUT, FOLDS, "target", "mse", 0.0, len(y), 0.2, 1, 0)
    return spark.createDataFrame(data, schema).repartition(2), densities, scale, plan


@pytest.mark.parametrize("predictable", [True, False])
def test_weights_are_taken_where_the_tail_can_be_predicted_and_only_there(
    spark: SparkSession, predictable: bool
) -> None:
    errors = try_weights(*trial(spark, *world(predictable)), zeros_apart=False)
    assert set(errors) == {one.name for one in TRIED}
    assert all(found.balanced > found.mae for found in errors.values())  # rare labels are the hard ones
    assert errors["inverse_50"].balanced < errors["none"].balanced
    assert (best_weights(errors) != "none") is predictable


def test_rows_of_the_folds_left_out_are_judged_by_models_that_never_saw_them(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted: dict[bytes, int] = {}
    judged: list[tuple[set[int], dict[str, list[int]]]] = []

    def fit(rows: Any, model: Any, plan: Any, fold: int) -> Fitted:
        found = fit_fold(rows, model, plan, fold)
        fitted[found.payload] = fold
        return found

    def score(rows: Any, models: dict[str, list[Fitted]], layout: Any) -> Any:
        by_place = {kind: [fitted[one.payload] for one in folds] for kind, folds in models.items()}
        judged.append(({row["fold"] for row in rows.select("fold").distinct().collect()}, by_place))
        return score_by_fold(rows, models, layout)

    monkeypatch.setattr(cross_fit, "fit_fold", fit)
    monkeypatch.setattr(label_weights, "score_by_fold", score)
    try_weights(*trial(spark, *world(True)), zeros_apart=False)
    [(folds, by_place)] = judged
    assert folds == {0, 1}
    assert len(fitted) == len(TRIED) * len(folds)  # every model is another one
    assert all(places[fold] == fold for places in by_place.values() for fold in folds)


def test_a_sample_of_the_rows_stands_for_many(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, densities, scale, plan = trial(spark, *world(True))
    some = rows.where(uniform("row_hash", plan.seed + 2) < 1 / 3)
    assert 800 < some.count() < 1200
    only = {"none": densities["none"]}
    expected = try_weights(some, only, scale, plan, zeros_apart=False)["none"]
    monkeypatch.setattr(label_weights, "ROWS", 1000)
    found = try_weights(rows, only, scale, plan, zeros_apart=False)["none"]
    assert found.mae == pytest.approx(expected.mae) and found.balanced == pytest.approx(expected.balanced)


def test_the_least_error_at_rare_labels_wins_that_costs_next_to_nothing_overall() -> None:
    assert Errors.of_bins([8, 2], [8.0, 20.0]) == Errors(2.8, 5.5)
    errors = {"none": Errors(10.0, 100.0), "light": Errors(10.05, 90.0), "heavy": Errors(10.2, 60.0)}
    assert best_weights(errors) == "light"
    assert best_weights({**errors, "heavy": Errors(9.0, 60.0)}) == "heavy"
    assert best_weights({**errors, "light": Errors(9.0, 96.0)}) == "none"  # too little to be more than chance
    assert best_weights({"none": Errors(1.0, 1.0), "inverse": Errors(1.0, 1.0)}) == "none"


def test_labels_of_zero_keep_their_own_weight(spark: SparkSession) -> None:
    density = LabelDensity.from_histogram([-1.0, 0.0, 1.0], [9, 1], reweight="inverse", kernel_size=1, exact=True)
    frame = spark.createDataFrame([(0.0, -0.5, 3.0), (2.0, 0.5, 3.0)], "label double, margin double, weight double")
    for apart in (True, False):
        column = row_weight(density, F.col("margin"), zeros_apart=apart)
        first, second = (row[0] for row in frame.select(column).collect())
        assert first == pytest.approx(3.0 if apart else 3.0 * density.weights[0])
        assert second == pytest.approx(3.0 * density.weights[1])


def test_weights_by_relevance_are_those_of_sera() -> None:
    scale = LabelScale("linear", 1.0, 0.0, 1.0, 0.0)
    edges, counts = np.arange(0.0, 11), np.array([0.0, 4, 9, 4, 0, 0, 0, 0, 0, 3])
    relevance, weighting = Relevance(2.5, None, 6.5), Weighting("relevance", 0.5)
    density = weigh(edges, counts, scale, LDSConfig(), weighting, relevance)
    extreme = relevance(edges[:-1] + 0.5)
    assert density.weights == pytest.approx(0.5 + 0.5 * extreme * counts.sum() / (counts @ extreme))
    assert counts @ density.weights == pytest.approx(counts.sum())
    with pytest.raises(InputError, match="relevance, but no training label is beyond"):
        weigh(edges, counts, scale, LDSConfig(), weighting, Relevance(2.5, None, None))
