"""The JVM's focal objective against calculus, against native LightGBM, and its jar against its source."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from remedi_spark.errors import InputError
from remedi_spark.maths.focal import best_constant, lightgbm_objective
from remedi_spark.models.lightgbm.jvm import build
from remedi_spark.models.lightgbm.jvm.focal import check_trees, jar_path, set_focal_objective

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

pytestmark = pytest.mark.synapseml

Array = NDArray[np.float64]

ALPHA, GAMMA = 0.25, 2.0
BASE_SCORE = best_constant(0.05, ALPHA, GAMMA)
HESSIAN_FLOOR = 0.03  # a negative at BASE_SCORE has .0304 and less as its margin falls: the floor shapes the trees
ROUNDS = 20
LEAVES, LEARNING_RATE, ROWS_IN_LEAF = 15, 0.1, 20


@dataclass(frozen=True)
class Planted:
    """Rows whose true log-odds are known: the first half trains, the second half tests."""

    features: Array
    log_odds: Array
    labels: Array
    weights: Array

    @property
    def train(self) -> slice:
        return slice(0, len(self.labels) // 2)

    @property
    def test(self) -> slice:
        return slice(len(self.labels) // 2, None)


@pytest.fixture(scope="module")
def planted() -> Planted:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(12_000, 6)).astype(np.float32).astype(np.float64)
    log_odds = features[:, 0] + features[:, 1] * features[:, 2] - 3.5
    labels = (rng.random(len(log_odds)) < 1 / (1 + np.exp(-log_odds))).astype(np.float64)
    return Planted(features, log_odds, labels, rng.choice([0.5, 1.0, 3.0], len(labels)))


@pytest.fixture(scope="module")
def frame(spark: SparkSession, planted: Planted) -> DataFrame:
    from pyspark.ml.functions import array_to_vector

    rows = planted.train
    columns = {"x": list(planted.features[rows]), "label": planted.labels[rows], "weight": planted.weights[rows]}
    frame = spark.createDataFrame(pd.DataFrame(columns)).withColumn("features", array_to_vector("x"))
    return frame.repartition(2).cache()


def reference_loss(z: torch.Tensor, label: int, alpha: float, gamma: float) -> torch.Tensor:
    x = z if label else -z
    weight = alpha if label else 1 - alpha
    return -weight * torch.sigmoid(-x) ** gamma * torch.nn.functional.logsigmoid(x)


def reference_derivatives(z: Array, label: int, alpha: float, gamma: float) -> tuple[Array, Array]:
    point = torch.tensor(z, dtype=torch.float64, requires_grad=True)
    loss = reference_loss(point, label, alpha, gamma).sum()
    (slope,) = torch.autograd.grad(loss, point, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), point)
    return slope.detach().numpy(), curvature.numpy()


def native_margins(
    planted: Planted, *, weighted: bool = False, floor: float = HESSIAN_FLOOR, base_score: float = BASE_SCORE
) -> Array:
    rows = planted.train
    data = lgb.Dataset(
        planted.features[rows],
        planted.labels[rows],
        weight=planted.weights[rows] if weighted else None,
        init_score=np.full(len(planted.labels[rows]), base_score),
    )
    settings: dict[str, Any] = {
        "objective": lightgbm_objective(ALPHA, GAMMA, hessian_floor=floor),
        "num_leaves": LEAVES,
        "learning_rate": LEARNING_RATE,
        "min_data_in_leaf": ROWS_IN_LEAF,
        "num_threads": 1,
        "deterministic": True,
        "force_col_wise": True,
        "verbosity": -1,
    }
    booster = lgb.train(settings, data, ROUNDS)
    return np.asarray(booster.predict(planted.features[planted.test], raw_score=True)) + base_score


def classifier(**settings: Any) -> Any:
    from synapse.ml.lightgbm import LightGBMClassifier

    defaults: Mapping[str, Any] = {
        "featuresCol": "features",
        "labelCol": "label",
        "numIterations": ROUNDS,
        "numLeaves": LEAVES,
        "learningRate": LEARNING_RATE,
        "minDataInLeaf": ROWS_IN_LEAF,
        "numTasks": 1,
        "numThreads": 1,
        "dataTransferMode": "bulk",
        "deterministic": True,
        "passThroughArgs": "force_col_wise=true",
        "defaultListenPort": 13_000 + os.getpid() % 10_000,  # fits of another process may run beside
        "verbosity": -1,
    }
    return LightGBMClassifier(**{**defaults, **settings})


def focal_classifier(**settings: Any) -> Any:
    estimator = classifier(**settings)
    set_focal_objective(estimator, alpha=ALPHA, gamma=GAMMA, hessian_floor=HESSIAN_FLOOR, base_score=BASE_SCORE)
    return estimator


def margins(model: Any, planted: Planted) -> Array:
    text = model.getNativeModel()
    assert check_trees(text) > 0
    booster = lgb.Booster(model_str=text)
    return np.asarray(booster.predict(planted.features[planted.test], raw_score=True)) + BASE_SCORE


def auc(planted: Planted, scores: Array) -> float:
    return float(roc_auc_score(planted.labels[planted.test], scores))


@pytest.fixture(scope="module")
def objective(spark: SparkSession) -> Any:
    """The object in the JVM; its static methods are callable on it."""
    return focal_classifier().getFobj()


@pytest.mark.parametrize(
    ("z", "label", "gradient", "hessian"),
    [
        (0.0, 1, -0.0745717, 0.09978585),
        (0.0, 0, 0.2237151, 0.29935755),
        (2.0, 1, -0.00121774, 0.00316939),
        (-2.0, 1, -0.26917843, 0.03864069),
    ],
)
def test_derivatives_match_worked_numbers(
    objective: Any, z: float, label: int, gradient: float, hessian: float
) -> None:
    assert objective.gradient(z, label == 1, 0.25, 2.0) == pytest.approx(gradient, abs=1e-7)
    assert objective.hessian(z, label == 1, 0.25, 2.0) == pytest.approx(hessian, abs=1e-7)


@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0, 3.5])
def test_derivatives_match_autograd(objective: Any, gamma: float, label: int) -> None:
    z = np.linspace(-15, 15, 61)
    slope, curvature = reference_derivatives(z, label, 0.3, gamma)
    points = [(x, label == 1, 0.3, gamma) for x in z.tolist()]
    np.testing.assert_allclose([objective.gradient(*point) for point in points], slope, rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose([objective.hessian(*point) for point in points], curvature, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("x", [30.0, 50.0, 800.0])
def test_derivatives_keep_their_limits_far_out(objective: Any, x: float, label: int) -> None:
    """Right by far: slope (1 + γ) α r^(1 + γ), curve (1 + γ) times that, with r = 1 - q; wrong by far: α and 0."""
    alpha, gamma, sign = 0.25, 2.0, 2 * label - 1
    weight = alpha if label else 1 - alpha
    far = (1 + gamma) * weight * math.exp(-(1 + gamma) * x)
    assert objective.gradient(sign * x, label == 1, alpha, gamma) == pytest.approx(-sign * far, rel=1e-9)
    assert objective.hessian(sign * x, label == 1, alpha, gamma) == pytest.approx((1 + gamma) * far, rel=1e-9)
    assert objective.gradient(-sign * x, label == 1, alpha, gamma) == pytest.approx(-sign * weight, rel=1e-9)
    assert objective.hessian(-sign * x, label == 1, alpha, gamma) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("mode", ["bulk", "streaming"])
@pytest.mark.parametrize("weighted", [False, True])
def test_one_task_equals_native_lightgbm(planted: Planted, frame: DataFrame, mode: str, weighted: bool) -> None:
    settings = {"weightCol": "weight"} if weighted else {}
    model = focal_classifier(dataTransferMode=mode, **settings).fit(frame.coalesce(1))
    ours, native = margins(model, planted), native_margins(planted, weighted=weighted)
    np.testing.assert_allclose(ours, native, atol=1e-4)
    assert auc(planted, ours) == pytest.approx(auc(planted, native), abs=0.002)
    assert auc(planted, ours) > auc(planted, planted.log_odds[planted.test]) - 0.1


@pytest.mark.parametrize("other", [{"weighted": True}, {"floor": 1e-3}, {"base_score": -1.0}])
def test_each_setting_changes_the_model(planted: Planted, other: dict[str, Any]) -> None:
    """Else the comparison above could not tell whether weights, floor and starting score are used."""
    assert np.abs(native_margins(planted) - native_margins(planted, **other)).max() > 0.1


def test_two_tasks_rank_as_native_lightgbm(planted: Planted, frame: DataFrame) -> None:
    """Two native workers over the network: each bins its own rows, so the trees differ a little."""
    estimator = focal_classifier(numTasks=2, useSingleDatasetMode=False, weightCol="weight")
    ours = margins(estimator.fit(frame), planted)
    assert auc(planted, ours) == pytest.approx(auc(planted, native_margins(planted, weighted=True)), abs=0.02)


def test_every_fit_keeps_the_objective(planted: Planted, frame: DataFrame) -> None:
    data, estimator = frame.coalesce(1), focal_classifier()
    first = margins(estimator.fit(data), planted)
    again = estimator.fit(data)
    copied = estimator.copy({estimator.numIterations: ROUNDS}).fit(data)
    overridden = estimator.fit(data, {estimator.numIterations: ROUNDS})
    for model in (again, copied, overridden):
        np.testing.assert_array_equal(margins(model, planted), first)
    plain = margins(classifier().fit(data), planted)
    assert np.abs(plain - first).max() > 0.1


def test_any_thread_can_set_the_objective(spark: SparkSession) -> None:
    with ThreadPoolExecutor(1) as pool:
        estimator = pool.submit(focal_classifier).result()
    assert estimator.getFobj().getClass().getName() == "remedi.spark.FocalLoss"


def test_a_model_without_a_split_is_an_error(frame: DataFrame) -> None:
    model = focal_classifier(minDataInLeaf=1_000_000, numIterations=2).fit(frame.coalesce(1))
    with pytest.raises(RuntimeError, match="without a single split"):
        check_trees(model.getNativeModel())


VALID = {"alpha": ALPHA, "gamma": GAMMA, "hessian_floor": HESSIAN_FLOOR, "base_score": BASE_SCORE}


@pytest.mark.parametrize(
    "wrong", [{"alpha": 0.0}, {"alpha": 1.0}, {"gamma": -1.0}, {"hessian_floor": 0.0}, {"base_score": math.nan}]
)
def test_a_value_out_of_range_is_named(wrong: dict[str, float]) -> None:
    (name,) = wrong
    with pytest.raises(InputError, match=rf"focal loss: {name}: found .*, expected"):
        set_focal_objective(_Untouched(), **{**VALID, **wrong})


class _Untouched:
    def setFobj(self, value: object) -> object:  # noqa: N802
        raise AssertionError("an objective was set although its arguments are wrong")


def test_the_jar_records_its_source() -> None:
    assert manifest()["Source-SHA-256"] == build.source_digest(), "run python -m remedi_spark.models.lightgbm.jvm.build"


def test_the_jar_is_what_the_source_compiles_to(spark: SparkSession, tmp_path: Any) -> None:
    javac = build.find_javac()
    if javac is None or build.javac_release(javac) != manifest()["Build-Jdk-Spec"]:
        pytest.skip(f"needs javac {manifest()['Build-Jdk-Spec']}: another release writes other bytes")
    rebuilt = tmp_path / "rebuilt.jar"
    build.write_jar(rebuilt, build.compile_source(build.spark_class_path(spark)))
    assert rebuilt.read_bytes() == jar_path().read_bytes()


def manifest() -> dict[str, str]:
    with zipfile.ZipFile(jar_path()) as jar:
        lines = jar.read("META-INF/MANIFEST.MF").decode().split("\r\n")
    return dict(line.split(": ", 1) for line in lines if line)
