"""The whole chain learns nothing from noise, gives every row one honest prediction, and ignores partitioning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from remedi_spark import chain
from remedi_spark.config import Config, load_config
from remedi_spark.samples.flat import FlatTable
from remedi_spark.storage.tables import Tables
from remedi_spark.storage.workspace import FINAL, Workspace
from tests.cli.conftest import FASTEST

OWNERS, SNAPSHOTS = 700, 2
KEY = ["owner_id", "snapshot_date"]


@pytest.fixture(scope="module")
def config() -> Config:
    return load_config(None, FASTEST)


def _noise(owners: range, seed: int) -> pd.DataFrame:
    """Owners whose label is drawn at random, once, and who carry a number and a code that identify them."""
    rng = np.random.default_rng(seed)
    label = rng.permutation(np.arange(len(owners)) < len(owners) // 5).astype(int)
    frame = pd.DataFrame({"owner": list(owners), "label": label, "fingerprint": rng.permutation(len(owners)) * 1.0})
    frame["code"] = "c" + frame["fingerprint"].astype(int).astype(str)
    both = [
        frame.assign(day=pd.Timestamp(day), noise=rng.normal(size=len(frame))) for day in ("2026-01-01", "2026-02-01")
    ]
    return pd.concat(both).sample(frac=1, random_state=seed)


@pytest.fixture(scope="module")
def runs(spark: Any, config: Config, tmp_path_factory: pytest.TempPathFactory) -> list[Workspace]:
    """The same noise, trained on twice: from one file and from seven."""
    folder = tmp_path_factory.mktemp("honesty")
    train, test = _noise(range(OWNERS), 1), _noise(range(10_000, 10_000 + OWNERS), 2)
    spark.createDataFrame(test).repartition(3).write.parquet(str(folder / "test.parquet"))
    workspaces = []
    for files in (1, 7):
        table = folder / f"train_{files}.parquet"
        spark.createDataFrame(train).repartition(files).write.parquet(str(table))
        bundle = folder / f"model_{files}"
        source = FlatTable(str(table), "label", "owner", "day", test=str(folder / "test.parquet"))
        chain.train(spark, source, bundle, config)
        workspaces.append(Workspace.of(Tables(spark, str(bundle / "tables")), bundle))
    return workspaces


def _frame(workspace: Workspace, name: str, part: str) -> pd.DataFrame:
    frame = workspace.read(FINAL, name).toPandas()
    return frame[frame["part"] == part].sort_values(KEY).reset_index(drop=True)


@pytest.mark.slow
def test_one_out_of_fold_prediction_a_row_and_model(runs: list[Workspace]) -> None:
    train = _frame(runs[0], "oof_predictions", "train")
    assert len(train) == OWNERS * SNAPSHOTS
    assert not train.duplicated(KEY).any()
    models = ["lightgbm", "mlp"]
    assert train[models].notna().all(axis=None)
    assert train[models].apply(lambda p: p.between(0, 1)).all(axis=None)
    assert (train.groupby("owner_id")["fold"].nunique() == 1).all()


@pytest.mark.slow
def test_a_feature_that_identifies_owners_gains_nothing(runs: list[Workspace]) -> None:
    """Were an owner's other snapshot, or its own label, seen in training, the fingerprint would give AUC near 1."""
    train = _frame(runs[0], "oof_predictions", "train")
    for model in ("lightgbm", "mlp"):
        assert abs(roc_auc_score(train["label"], train[model]) - 0.5) < _noise_bound(train["label"]), model
    fused = _frame(runs[0], "fused_scores", "train")
    assert abs(roc_auc_score(fused["label"], fused["fuser"]) - 0.5) < _noise_bound(fused["label"])


@pytest.mark.slow
@pytest.mark.parametrize(("table", "column"), [("fused_scores", "fuser"), ("student_scores", "student")])
def test_random_labels_teach_nothing(table: str, column: str, runs: list[Workspace]) -> None:
    test = _frame(runs[0], table, "test")
    assert abs(roc_auc_score(test["label"], test[column]) - 0.5) < _noise_bound(test["label"])


def _noise_bound(labels: pd.Series) -> float:
    """4 standard deviations of the AUC of a random ranking, when both snapshots of an owner rank alike."""
    positives = labels.sum() / SNAPSHOTS
    negatives = len(labels) / SNAPSHOTS - positives
    return float(4 * np.sqrt((positives + negatives + 1) / (12 * positives * negatives)))


@pytest.mark.slow
def test_partitioning_of_the_input_changes_nothing(runs: list[Workspace]) -> None:
    for name, part, columns in (
        ("oof_predictions", "train", ["fold", "lightgbm", "mlp"]),
        ("fused_scores", "train", ["fuser", "mean", "stack_lr"]),
        ("student_scores", "test", ["student"]),
    ):
        one, seven = (_frame(workspace, name, part)[columns] for workspace in runs)
        np.testing.assert_allclose(one, seven, rtol=0, atol=1e-6, err_msg=name)


@pytest.mark.slow
def test_base_scores_are_handed_on_for_test_rows_and_stored_once_for_the_others(runs: list[Workspace]) -> None:
    models = ["lightgbm", "mlp"]
    assert _frame(runs[0], "fused_scores", "train")[models].isna().all(axis=None)
    handed_on, stored = (_frame(runs[0], name, "test")[models] for name in ("fused_scores", "oof_predictions"))
    np.testing.assert_array_equal(handed_on, stored)


@pytest.mark.slow
def test_the_bundle_scores_what_the_student_stage_scored(runs: list[Workspace]) -> None:
    import remedi_spark

    test = _frame(runs[0], "student_scores", "test")
    bundle = remedi_spark.load(Path(runs[0].bundle))
    frame = _noise(range(10_000, 10_000 + OWNERS), 2).sort_values(["owner", "day"])
    margins = bundle.margin(bundle.contract.canonical(frame))
    np.testing.assert_allclose(margins, test["student"], atol=1e-6)
