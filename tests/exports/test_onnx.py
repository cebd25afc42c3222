"""The ONNX student gives what the bundle gives, on odd rows too, and needs neither Spark nor Python's libraries."""

from __future__ import annotations

import json
import resource
import signal
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import onnxruntime
import pandas as pd
import pytest
import xgboost
from catboost import CatBoost

from remedi_spark.delivery.onnx_model import NULL, build_model, export_onnx, onnx_inputs
from remedi_spark.errors import InputError
from remedi_spark.maths.calibrators import (
    BetaCalibrator,
    IdentityCalibrator,
    IsotonicCalibrator,
    PlattCalibrator,
)
from remedi_spark.maths.label_scale import LabelScale, ScoreMap
from remedi_spark.models.catboost.fit import serialized
from remedi_spark.models.catboost.predict import Columns
from remedi_spark.models.nets.fit import payload
from remedi_spark.models.nets.training import Recipe, Rows, train
from remedi_spark.samples.encoder import NULL_LEVEL, Encoder, Levels
from remedi_spark.samples.layout import Made
from remedi_spark.samples.schema import Feature, FeatureContract
from remedi_spark.scoring.bundle import Bundle, BundleParts
from remedi_spark.storage.fitted import Fitted

FOLDS, ROWS = 2, 400
CONTRACT = FeatureContract((
    Feature("spend [EUR]", "number"), Feature("b.r`and", "category"), Feature("größe: {m}", "number"),
    Feature("active", "boolean"), Feature("last seen", "date"), Feature("shop", "category"),
))  # fmt: skip
MADE = (Made("difference", 0, 1), Made("ratio", 0, 1))
TABM: dict[str, Any] = {
    "kind": "tabm", "embedding_dim": 4, "dropout": 0.1, "members": 3, "blocks": 2, "width": 16
}  # fmt: skip
MLP: dict[str, Any] = {"kind": "mlp", "embedding_dim": 4, "dropout": 0.1, "hidden": [8]}
DEEPFM: dict[str, Any] = {"kind": "deepfm", "embedding_dim": 4, "dropout": 0.1, "hidden": [8]}


def table(rows: int = ROWS, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    day = [None if i % 7 == 0 else date(2026, 1, 1) + timedelta(days=int(i) % 50) for i in range(rows)]
    return pd.DataFrame({
        "spend [EUR]": np.where(rng.random(rows) < 0.1, np.nan, np.round(rng.normal(size=rows), 1)),
        "b.r`and": np.where(rng.random(rows) < 0.1, None, rng.choice(["a", "Köln", "c, 'd'"], rows).astype(object)),
        "größe: {m}": rng.poisson(2, rows).astype(float),
        "active": pd.array(rng.choice([True, False, None], rows), dtype="boolean"),
        "last seen": day,
        "shop": [f"s{i}" for i in rng.integers(0, 40, rows)],
    })  # fmt: skip


def odd(far: float = 1e30) -> pd.DataFrame:
    """Rows as nobody had in mind: nulls everywhere, unseen levels, infinities, far-off numbers and days."""
    frame = pd.concat([table(60, 1), table(7, 2)], ignore_index=True)
    frame.loc[0:9, "b.r`and"] = ["never seen", "", " a", "A", "Köln ", "\u0000", "😀", "null", "nan", NULL]
    frame.loc[0:5, "spend [EUR]"] = [np.inf, -np.inf, far, -far, 5e-324, -0.0]
    frame.loc[6:9, "größe: {m}"] = [2.0000000000000004, 1.9999999999999998, 2.5, 0.0]
    frame["last seen"] = frame["last seen"].astype(object)
    frame.loc[1, "last seen"] = date(9999, 12, 31)
    frame.loc[2, "last seen"] = date(1, 1, 1)
    nothing = frame.iloc[[20]].copy()
    for name in nothing.columns:
        nothing[name] = pd.Series([None], index=nothing.index, dtype=frame[name].dtype)
    return pd.concat([frame, nothing], ignore_index=True)


def _encoder(frame: pd.DataFrame, label: Any, fold: Any) -> Encoder:
    levels = {}
    canonical = CONTRACT.canonical(frame)
    for i in CONTRACT.categories:
        values = canonical[f"f{i}"].where(canonical[f"f{i}"].notna(), NULL_LEVEL)
        names = values.value_counts().index.tolist()[:30]
        counts = np.array([[((values == name) & (fold == k)).sum() for k in range(FOLDS)] for name in names])
        sums = np.array([[label[(values == name) & (fold == k)].sum() for k in range(FOLDS)] for name in names])
        levels[i] = Levels(tuple(names), counts.astype(float), sums.astype(float))
    by_fold = [fold == k for k in range(FOLDS)]
    rows, sums = np.array([m.sum() for m in by_fold]), np.array([label[m].sum() for m in by_fold])
    return Encoder(CONTRACT, levels, rows.astype(float), sums, FOLDS, True, 20.0, 28, made=MADE)


def _fit(kind: str, x: Any, target: Any, encoder: Encoder, seed: int) -> Fitted:
    if kind == "lightgbm":
        codes = encoder.layout.where("code")  # as categories: splits by sets of levels
        data = lightgbm.Dataset(x, target, categorical_feature=codes)
        settings = {"verbose": -1, "num_leaves": 9, "min_data_in_leaf": 5, "seed": seed, "num_threads": 1,
                    "min_data_per_group": 5, "cat_smooth": 1}  # fmt: skip
        booster = lightgbm.train(settings, data, 25)
        return Fitted("lightgbm", booster.model_to_string().encode(), {"init_score": 0.25})
    if kind == "xgboost":
        settings = {"max_depth": 4, "nthread": 1, "seed": seed, "base_score": -1.5}
        trees = xgboost.train(settings, xgboost.DMatrix(x, target), 20)
        return Fitted("xgboost", bytes(trees.save_raw("ubj")), {"trees": 15})
    if kind.startswith("catboost"):
        columns = Columns.of(encoder.layout, native=kind == "catboost_categories")
        settings = {"loss_function": "RMSE", "iterations": 60, "depth": 5, "learning_rate": 0.2, "random_seed": seed,
                    "thread_count": 1, "verbose": False, "allow_writing_files": False}  # fmt: skip
        model = CatBoost(settings).fit(columns.pool(x, target))
        return Fitted("catboost", serialized(model), {"categories": columns.categories, "shift": 0.125})
    spec = {"tabm": TABM, "mlp": MLP, "deepfm": DEEPFM}[kind]
    rows = Rows(x, target, np.ones(len(x)), np.arange(len(x)) % 5 == 0, None)
    recipe = Recipe(loss="mse", epochs=2, max_steps=40, batch_size=64, learning_rate=0.02, weight_decay=0.0,
                    patience=2, n_bins=8, seed=seed, label_weight=0.0)  # fmt: skip
    return Fitted("net", payload(train(spec, rows, encoder.layout, recipe), "mse"), {})


@pytest.fixture(scope="module")
def parts() -> BundleParts:
    """A student of every kind of model, on features of every kind."""
    frame = table()
    rng = np.random.default_rng(3)
    margin = 2 * frame["spend [EUR]"].fillna(0).to_numpy() + 1.5 * (frame["b.r`and"] == "Köln").to_numpy() - 2
    label = (rng.random(ROWS) < 1 / (1 + np.exp(-margin))).astype(float)
    fold = np.arange(ROWS) % FOLDS
    encoder = _encoder(frame, label, fold)
    students: dict[str, list[Fitted]] = {}
    for kind in ("tabm", "mlp", "deepfm", "lightgbm", "xgboost", "catboost", "catboost_categories"):
        for k in range(FOLDS):
            x = encoder.transform(CONTRACT.canonical(frame), leave_out=k)
            students.setdefault(kind, []).append(_fit(kind, x, margin, encoder, k))
    return BundleParts(encoder.to_dict(), students, IdentityCalibrator().to_dict(), "v1")


def run(model: Any, inputs: dict[str, Any]) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    content = model if isinstance(model, str) else model.SerializeToString()
    return onnxruntime.InferenceSession(content, options).run(["score"], inputs)[0]


@pytest.mark.parametrize("only", ["tabm", "lightgbm", "xgboost", "catboost", "catboost_categories"])
def test_each_kind_of_student_on_odd_rows(only: str, parts: BundleParts) -> None:
    bundle = Bundle(replace(parts, students={only: parts.students[only]}))
    model = build_model(bundle)
    far = 1e300 if only != "xgboost" else 1e30  # XGBoost itself refuses what no float32 holds
    for frame in (odd(far).drop(9), table(300, 5)):
        found = run(model, onnx_inputs(bundle.contract, frame))
        np.testing.assert_allclose(found, bundle.predict(frame), rtol=0, atol=1e-5)
    assert np.ptp(found) > 0.1, "scores that differ"


CALIBRATORS: list[ScoreMap] = [
    IdentityCalibrator(), PlattCalibrator(0.8, -0.3), BetaCalibrator(0.7, 1.2, 0.1),
    IsotonicCalibrator((-3.0, -1.0, 0.5, 2.0), (0.01, 0.02, 0.4, 0.9), -2.0, 1.5),
    IsotonicCalibrator((0.0,), (0.3,), -2.0, 1.5), LabelScale("linear", 1.0, 3.0, 2.5, float("-inf")),
    LabelScale("asinh", 10.0, 0.5, 0.8, 0.0),
]  # fmt: skip


@pytest.mark.slow
def test_the_whole_student_and_every_calibrator(parts: BundleParts, tmp_path: Path) -> None:
    frame = pd.concat([odd().drop(9), table(100, 6)])
    inputs = onnx_inputs(CONTRACT, frame)
    trees = {name: parts.students[name] for name in ("lightgbm", "xgboost")}
    for number, calibrator in enumerate(CALIBRATORS):
        students = parts.students if number == 0 else trees
        bundle = Bundle(replace(parts, students=students, calibration=calibrator.to_dict()))
        path = export_onnx(bundle, tmp_path / f"{number}.onnx")
        found = run(str(path), inputs)
        np.testing.assert_allclose(found, bundle.predict(frame), rtol=1e-6, atol=1e-5, err_msg=str(calibrator))
        one = {name: values[[3]] for name, values in inputs.items()}
        np.testing.assert_allclose(run(str(path), one), found[[3]], rtol=1e-6, atol=1e-7)


def test_a_disk_that_fills_up_leaves_the_former_file(parts: BundleParts, tmp_path: Path) -> None:
    """This process may write no file above 1 kB: what it then gets from the system is what a full disk gives."""
    bundle = Bundle(replace(parts, students={"lightgbm": parts.students["lightgbm"]}))
    path = tmp_path / "student.onnx"
    path.write_bytes(b"former")
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    kept = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, kept[1]))
    try:
        with pytest.raises(InputError, match=r"--onnx .*the former file stands as it was"):
            export_onnx(bundle, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, kept)
        signal.signal(signal.SIGXFSZ, ignored)
    assert path.read_bytes() == b"former"
    assert list(tmp_path.iterdir()) == [path], "no half a file beside it"


def test_the_file_says_what_it_is(parts: BundleParts) -> None:
    bundle = Bundle(replace(parts, students={"lightgbm": parts.students["lightgbm"]}))
    session = onnxruntime.InferenceSession(build_model(bundle).SerializeToString())
    kinds = {one.name: one.type for one in session.get_inputs()}
    assert kinds == {
        feature.name: "tensor(string)" if feature.kind == "category" else "tensor(double)"
        for feature in CONTRACT.features
    }
    about = session.get_modelmeta().custom_metadata_map
    assert (about["model_version"], about["null"]) == ("v1", NULL)
    assert json.loads(about["features"])["last seen"] == "date"


def _renamed(parts: BundleParts, name: str, *students: str) -> Bundle:
    tree = json.loads(json.dumps(parts.encoder))
    tree["contract"]["features"][0]["name"] = name
    return Bundle(replace(parts, encoder=tree, students={one: parts.students[one] for one in students}))


@pytest.mark.parametrize(
    "name", ["v1", "lightgbm_0", "nets", "nets_x", "/v1", "//nets_x", "a/b 'c'\n\"d\" 价格 😀 {x}"]
)
def test_names_of_features_may_be_like_those_inside(parts: BundleParts, name: str) -> None:
    bundle = _renamed(parts, name, "mlp" if name == "//nets_x" else "lightgbm")  # exporting a net takes seconds
    model = build_model(bundle)
    assert name in {one.name for one in model.graph.input}
    frame = table(50, 4).rename(columns={"spend [EUR]": name})
    np.testing.assert_allclose(
        run(model, onnx_inputs(bundle.contract, frame)), bundle.predict(frame), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("name", ["score", ""])
def test_a_name_that_no_input_can_have_is_refused(parts: BundleParts, name: str) -> None:
    with pytest.raises(InputError, match=f"feature '{name}' .* rename the column"):
        build_model(_renamed(parts, name, "lightgbm"))


def test_a_level_that_reads_as_null_is_refused(parts: BundleParts) -> None:
    tree = json.loads(json.dumps(parts.encoder))
    tree["levels"]["1"]["names"][0] = NULL
    with pytest.raises(InputError, match="has a level '<null>'"):
        build_model(Bundle(replace(parts, encoder=tree)))
