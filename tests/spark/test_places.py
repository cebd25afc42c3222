"""A folder that driver or executors cannot reach is refused before anything is done there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from remedi_spark import opening
from remedi_spark.config import load_config
from remedi_spark.errors import InputError
from remedi_spark.reading.paths import is_remote
from remedi_spark.storage import places
from remedi_spark.storage.places import local_name, require_local, require_shared, try_shared

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from tests.cli.conftest import Command

REMOTE = ["hdfs:///remedi", "hdfs:/remedi", "s3://bucket/m", "s3a://bucket/m", "dbfs:/m", "abfss://c@a.dfs.core.x/m"]


@pytest.mark.parametrize("path", REMOTE)
def test_other_file_systems_are_told_from_folders(path: str) -> None:
    assert is_remote(path)
    with pytest.raises(InputError, match=f"bundle: found {path}, expected an ordinary folder"):
        require_local(path, "bundle")


@pytest.mark.parametrize("path", ["run", "/run/x", "./a:b", "a/b:/c", "C", "main.gold"])
def test_folders_are_folders(path: str) -> None:
    assert not is_remote(path)
    assert require_local(path, "bundle") == Path(path)


@pytest.mark.parametrize("path", ["file:/tmp/y", "file:///tmp/y", "FILE:///tmp/y"])
def test_file_is_the_local_file_system(path: str) -> None:
    assert (local_name(path), is_remote(path)) == ("/tmp/y", False)


@pytest.mark.parametrize(
    ("root", "bundle", "words"),
    [
        ("main.gold", None, "--set bundle=DIR"),
        ("foo://x/y", None, "bundle foo://x/y/model: unknown scheme foo"),
        ("run", "dbfs:/m", "bundle dbfs:/m: unknown scheme dbfs"),
    ],
)
def test_a_bundle_that_cannot_be_is_refused_before_spark_starts(
    root: str, bundle: str | None, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(opening, "get_session", lambda _: pytest.fail("Spark was asked for"))
    with pytest.raises(InputError, match=words):
        opening.open_workspace(load_config(None, [], root=root, bundle=bundle))
    assert not list(tmp_path.iterdir())


def test_train_and_score_make_no_folder_called_foo(
    remedi: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for verb in (
        ("train", "--table", "t.csv", "--label", "l", "--id", "i", "--model", "foo:///m"),
        ("score", "--table", "t.csv", "--model", "dbfs:/m", "--out", "o"),
    ):
        done = remedi(*verb)
        assert done.code == 2
        assert "unknown scheme" in done.message, done.err
    assert not list(tmp_path.iterdir())


def test_a_file_address_is_the_folder(spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    workspace = opening.open_workspace(load_config(None, [], root=(tmp_path / "y").as_uri()))
    assert (workspace.home, workspace.tables.root) == (tmp_path / "y" / "model", str(tmp_path / "y"))
    assert not list(tmp_path.iterdir())


def test_a_shared_folder_is_one_that_both_see(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    try_shared(spark, tmp_path, 2, "root")
    assert not list(tmp_path.iterdir()), "the markers are gone"

    def elsewhere(path: str, looker: Any = places._looker) -> Any:
        return looker(f"{path}-elsewhere")

    monkeypatch.setattr(places, "_looker", elsewhere)
    with pytest.raises(InputError, match="2 of 2 tasks on executors do not see it; expected a folder that"):
        try_shared(spark, tmp_path, 2, "root")
    assert not list(tmp_path.iterdir())
    require_shared(spark, tmp_path, 2, "root")  # one machine: nothing is tried


def test_a_notebook_on_a_cluster_is_asked_for_a_folder(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    import remedi_spark

    monkeypatch.setattr(places, "on_cluster", lambda _: True)
    with pytest.raises(InputError, match="name a shared folder"):
        remedi_spark.train(spark.range(3), label="a", id="id")
