"""A bundle built by hand: pandas and Spark score alike, reasons add up, changed files are refused."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import asdict, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import functions as F
from sklearn.metrics import roc_auc_score

from remedi_spark.config.chain import EncodingConfig, LightGBMConfig, MLPConfig, ScoresConfig
from remedi_spark.errors import InputError
from remedi_spark.features.phrases import aggregated
from remedi_spark.maths.calibrators import PlattCalibrator
from remedi_spark.models.contract import TrainingSet
from remedi_spark.models.registry import learner_for
from remedi_spark.models.spark_examples import SparkExamples
from remedi_spark.samples.encoder_fit import encode, fit_encoder
from remedi_spark.samples.schema import FeatureContract, infer_features
from remedi_spark.scoring.batch import scored_batch
from remedi_spark.scoring.bundle import Bundle, load, load_parts, write_manifest
from remedi_spark.scoring.monitoring.counting import describe
from remedi_spark.scoring.reasons import Explainer
from remedi_spark.scoring.usual import usual_owner
from remedi_spark.storage.store import ModelStore

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

FOLDS = 2
STUDENTS = {
    "net": MLPConfig(hidden=(8,), epochs=4, batch_size=32, learning_rate=0.02),
    "trees": LightGBMConfig(num_iterations=20, num_leaves=5),
}
CALIBRATOR = PlattCalibrator(0.8, -0.3)


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """Owners with a number, a level, a flag and a day, some of each null; number and level act."""
    rng = np.random.default_rng(0)
    count = 600
    spend = rng.normal(size=count)
    brand = rng.choice(["a", "b", "c, 'd'"], count).astype(object)
    truth = 2 * spend + 1.5 * (brand == "b") - 1
    day = [None if i % 7 == 0 else date(2026, 1, 1) + timedelta(days=int(i) % 50) for i in range(count)]
    return pd.DataFrame(
        {
            "owner": np.arange(count),
            "spend [EUR]": np.where(rng.random(count) < 0.05, np.nan, spend),
            "b.r`and": np.where(rng.random(count) < 0.1, None, brand),
            "active": pd.array(rng.choice([True, False, None], count), dtype="boolean"),
            "last seen": day,
            "label": (rng.random(count) < 1 / (1 + np.exp(-truth))).astype(float),
        }
    )


@pytest.fixture(scope="module")
def frame(spark: SparkSession, table: pd.DataFrame) -> Any:
    schema = "owner long, `spend [EUR]` double, `b.r``and` string, active boolean, `last seen` date, label double"
    rows = table.astype(object).where(table.notna(), None).itertuples(index=False, name=None)
    return spark.createDataFrame(list(rows), schema).cache()


@pytest.fixture(scope="module")
def folder(spark: SparkSession, frame: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root: Path = tmp_path_factory.mktemp("bundle") / "model"
    features, _ = infer_features(frame, skip=["owner", "label"])
    contract = FeatureContract(tuple(features), "owner")
    keys = [F.col("owner").alias("owner_id"), "label", (F.col("owner") % FOLDS).cast("int").alias("fold")]
    rows = frame.select(*keys, *contract.select(frame, table="t"))
    encoder = fit_encoder(rows, contract, EncodingConfig(), folds=FOLDS, binary=True)
    encoded = encode(rows, encoder).cache()
    store = ModelStore(root)
    for name, config in STUDENTS.items():
        for fold in range(FOLDS):
            train = encoded.where(F.col("fold") != fold).select(
                F.concat("x", F.col("te")[fold]).alias("x"), F.col("label").alias("target"), F.lit(1.0).alias("weight"),
                (F.col("owner_id") % 5 == 0).alias("valid"), F.col("owner_id").alias("row_hash"),
            )  # fmt: skip
            fitted = learner_for(config).fit(
                TrainingSet(SparkExamples(train), encoder.layout, "logistic", 0.4, 400, 1, fold)
            )
            store.save_fitted(fitted, "student", name, f"fold_{fold}")
    store.save("contract", contract.to_dict())
    store.save("encoder", encoder.to_dict())
    store.save("calibration", CALIBRATOR.to_dict())
    store.save("distribution", describe(rows, encoder, None).to_dict())
    store.save("score_distribution", {"score_edges": [], "score_counts": []})
    store.save("dictionary", {"spend [EUR]": asdict(aggregated("sum", ("purchase", "purchases"), "EUR", (28,)))})
    write_manifest(root, students=list(STUDENTS), folds=FOLDS)
    return root


@pytest.fixture(scope="module")
def bundle(folder: Path) -> Bundle:
    return load(folder)


def test_it_ranks_what_was_planted(bundle: Bundle, table: pd.DataFrame) -> None:
    assert roc_auc_score(table["label"], bundle.predict(table)) > 0.8


def test_spark_scores_what_pandas_predicts(bundle: Bundle, folder: Path, frame: Any, table: pd.DataFrame) -> None:
    config = ScoresConfig(budget=0.1, reasons=2)
    with scored_batch(frame.repartition(3), load_parts(folder), table="t") as batch:
        found = batch.ranked(config, datetime.now(UTC), "run").orderBy("owner_id").toPandas()
    predicted = bundle.predict(table.sample(frac=1, random_state=0)[::-1].sort_index())
    np.testing.assert_allclose(found["score"], predicted, atol=1e-6)
    np.testing.assert_array_equal(found["rank"].sort_values(), np.arange(1, 601))
    assert found["in_top_k"].sum() == 60
    assert found.loc[found["in_top_k"], "score"].min() >= found.loc[~found["in_top_k"], "score"].max()
    reasons = bundle.explain(bundle.contract.canonical(table), top=2)
    for row in np.flatnonzero(found["in_top_k"]):
        stored, expected = found["reasons"][row], reasons[row]
        assert [one["feature"] for one in stored] == [one.feature for one in expected]
        assert [one["value"] for one in stored] == [one.value for one in expected]
        assert [one["text"] for one in stored] == [one.text for one in expected]
        np.testing.assert_allclose(
            [one["contribution"] for one in stored], [one.contribution for one in expected], atol=1e-5
        )
    assert found.loc[~found["in_top_k"], "reasons"].isna().all()
    assert set(found["model_version"]) == {bundle.model_version}


def test_a_score_does_not_depend_on_who_else_is_scored(bundle: Bundle, table: pd.DataFrame) -> None:
    together = bundle.predict(table)
    alone = np.concatenate([bundle.predict(table.iloc[[row]]) for row in (0, 7, 99)])
    np.testing.assert_allclose(alone, together[[0, 7, 99]], atol=1e-7)
    assert bundle.predict(table.iloc[:0]).shape == (0,)


def test_other_columns_their_order_and_unseen_levels_do_no_harm(bundle: Bundle, table: pd.DataFrame) -> None:
    other = table[table.columns[::-1]].assign(noise=1)
    np.testing.assert_array_equal(bundle.predict(other), bundle.predict(table))
    unseen = bundle.predict(table.assign(**{"b.r`and": "never", "spend [EUR]": 1e300}))
    assert ((unseen > 0) & (unseen < 1)).all()


def test_contributions_sum_to_score_less_reference(bundle: Bundle, table: pd.DataFrame) -> None:
    canonical = bundle.contract.canonical(table)
    contributions = bundle.explainer.contributions(canonical)
    assert contributions.shape == (600, 4)
    references = bundle.score(canonical) - contributions.sum(axis=1)
    np.testing.assert_allclose(references, references[0], atol=1e-5)
    strength = dict(zip(bundle.contract.names, np.abs(contributions).mean(axis=0), strict=True))
    assert sorted(strength, key=strength.get)[::-1][:2] == ["spend [EUR]", "b.r`and"]  # type: ignore[arg-type]
    positive = table["spend [EUR]"] > 1
    assert (contributions[positive, 0] > 0).mean() > 0.95


def test_trees_explain_the_change_from_the_usual_owner(bundle: Bundle, table: pd.DataFrame) -> None:
    trees = Bundle(replace(bundle.parts, students={"trees": bundle.parts.students["trees"]}))
    owner = usual_owner(trees.encoder, trees.parts.distribution)
    assert not trees.explainer.contributions(owner).any()
    canonical = trees.contract.canonical(table)
    scores = trees.score(canonical)
    contributions = trees.explainer.contributions(canonical, scores)
    np.testing.assert_allclose(contributions.sum(axis=1), scores - trees.score(owner), atol=1e-12)
    as_usual = (canonical == owner.iloc[0]) | (canonical.isna() & owner.iloc[0].isna())
    assert as_usual.any().all()
    assert not contributions[as_usual].any()


def test_known_scores_change_no_reason(bundle: Bundle, table: pd.DataFrame) -> None:
    canonical = bundle.contract.canonical(table)
    assert bundle.explain(canonical, 3, bundle.score(canonical)) == bundle.explain(canonical, 3)


def test_one_fold_explains_about_what_all_folds_do(bundle: Bundle, table: pd.DataFrame) -> None:
    canonical = bundle.contract.canonical(table)
    found = [Explainer(bundle, fold).contributions(canonical).ravel() for fold in range(bundle.encoder.folds)]
    assert not np.array_equal(found[0], found[1])
    assert np.corrcoef(found)[0, 1:].min() > 0.8


def test_reasons_show_values_as_text(bundle: Bundle, table: pd.DataFrame) -> None:
    every = bundle.explain(bundle.contract.canonical(table), top=10)
    assert {len(row) for row in every} == {4}, "no more reasons than features"
    sizes = [[abs(reason.contribution) for reason in row] for row in every]
    assert all(row == sorted(row, reverse=True) for row in sizes)
    values = {(reason.feature, reason.value) for row in every for reason in row}
    assert ("b.r`and", "c, 'd'") in values
    assert ("b.r`and", None) in values


def test_reasons_say_what_is_usual(bundle: Bundle, table: pd.DataFrame) -> None:
    every = bundle.explain(bundle.contract.canonical(table), top=4)
    said = [{reason.feature: reason.text for reason in row} for row in every]
    spend, flag = table["spend [EUR]"].median(), str(table["active"].median() > 0.5).lower()
    brand = table["b.r`and"].value_counts().index[0]
    assert said[0]["last seen"].startswith("last seen is not known, usual: 2026-01-2")
    assert said[1]["last seen"].startswith("last seen is 2026-01-02, usual: 2026-01-2")
    known = table["active"].notna().idxmax()
    assert said[known]["active"] == f"active is {str(table['active'][known]).lower()}, usual: {flag}"
    assert said[1]["b.r`and"] == f"b.r`and is {table['b.r`and'][1]}, usual: {brand}"
    pattern = r"total EUR of purchases in the last 28 days: (.+), usual: (.+)"
    value, usual = map(float, re.fullmatch(pattern, said[1]["spend [EUR]"]).groups())  # type: ignore[union-attr]
    assert value == pytest.approx(table["spend [EUR]"][1], rel=1e-3)
    assert abs(usual - spend) < 0.02, "within one rank in a thousand of the median"


def test_a_bundle_without_dictionary_and_distribution_still_explains(
    folder: Path, tmp_path: Path, table: pd.DataFrame, bundle: Bundle
) -> None:
    root = _copy(folder, tmp_path)
    for name in ("dictionary", "distribution", "score_distribution"):
        (root / f"{name}.json").unlink()
    assert write_manifest(root, students=list(STUDENTS), folds=FOLDS) == bundle.model_version
    old = load(root)
    (row,) = old.explain(old.contract.canonical(table.iloc[[1]]), top=4)
    said = {reason.feature: reason.text for reason in row}
    assert said["spend [EUR]"] == f"spend [EUR] is {table['spend [EUR]'][1]:.4g}"
    assert ", usual: " in said["b.r`and"]


def _copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


@pytest.mark.parametrize(
    "name", ["encoder.json", "calibration.json", "dictionary.json", "student/net/fold_1.pt", "student/trees/fold_0.txt"]
)
def test_a_changed_file_is_refused(folder: Path, tmp_path: Path, name: str) -> None:
    root = _copy(folder, tmp_path)
    content = bytearray((root / name).read_bytes())
    content[len(content) // 2] ^= 1
    (root / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name}: changed since training"):
        load(root)
    (root / name).unlink()
    with pytest.raises(InputError, match=f"{name}: No such file or directory; expected a bundle"):
        load(root)


def test_what_no_score_depends_on_may_change(folder: Path, tmp_path: Path, table: pd.DataFrame, bundle: Bundle) -> None:
    root = _copy(folder, tmp_path)
    (root / "metrics.json").write_text("{}")
    np.testing.assert_array_equal(load(root).predict(table), bundle.predict(table))


def test_the_version_is_that_of_the_content(folder: Path, tmp_path: Path, bundle: Bundle) -> None:
    root = _copy(folder, tmp_path)
    assert write_manifest(root, students=list(STUDENTS), folds=FOLDS) == bundle.model_version
    ModelStore(root).save("calibration", PlattCalibrator(0.8, -0.31).to_dict())
    assert write_manifest(root, students=list(STUDENTS), folds=FOLDS) != bundle.model_version


def test_no_bundle_and_a_broken_manifest_are_told(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a bundle written by remedi train"):
        load(tmp_path / "nothing")
    root = _copy(folder, tmp_path)
    (root / "manifest.json").write_text(json.dumps({"files": {}})[:-3])
    with pytest.raises(InputError, match="the bundle is damaged, train again"):
        load(root)


def test_bad_frames_are_refused(bundle: Bundle, table: pd.DataFrame) -> None:
    with pytest.raises(InputError, match=r"feature 'spend \[EUR\]' is missing"):
        bundle.predict(table.drop(columns="spend [EUR]"))
    with pytest.raises(InputError, match="feature 'active' holds text that is no boolean"):
        bundle.predict(table.assign(active="yes"))
