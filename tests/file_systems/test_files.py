"""Files at addresses: of this machine, of fsspec's memory, which stands for all that pyarrow does not know itself."""

from __future__ import annotations

import hashlib
import uuid
from pathlib import Path

import pytest

from remedi_spark.errors import InputError
from remedi_spark.storage.file_systems import Files, reached
from remedi_spark.storage.places import local_name, require_local


@pytest.fixture(params=["local", "memory"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Files:
    address = tmp_path / "here" if request.param == "local" else f"memory://{uuid.uuid4().hex}/here"
    return Files.at(address, "test")


def test_what_is_written_is_read_listed_and_removed(files: Files) -> None:
    assert files.read("a") is None
    assert files.entries() == []
    assert not files.exists()
    files.write("a b/ö.json", b"first")
    files.write("a b/ö.json", b"second")
    files.write("c", b"")
    assert files.read("a b/ö.json") == b"second"
    assert files.sha256("a b/ö.json") == hashlib.sha256(b"second").hexdigest()
    assert [(one.name, one.is_folder) for one in files.entries()] == [("a b", True), ("c", False)]
    assert [(one.name, one.size) for one in files.entries("a b")] == [("a b/ö.json", 6)]
    assert [one.name for one in files.entries(all_levels=True)] == ["a b", "a b/ö.json", "c"]
    for _ in range(2):
        files.remove("c")
        files.remove_folder("a b")
    assert files.entries() == []


def test_a_write_that_fails_leaves_the_former_file(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    files.write("a", b"first")
    monkeypatch.setattr("remedi_spark.storage.file_systems.Files._put", _fail)
    monkeypatch.setattr("remedi_spark.storage.store.os.fdopen", _fail)
    with pytest.raises(OSError, match="full"):
        files.write("a", b"second")
    assert files.read("a") == b"first"


def _fail(*_: object) -> None:
    raise OSError("full")


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("foo://x/y", "bundle foo://x/y: unknown scheme foo; expected a folder, or an address of s3a"),
        ("dbfs:/models", "unknown scheme dbfs; expected a folder"),
        ("s3a:/y", "names no bucket or container; expected s3a://NAME/FOLDER"),
        ("abfss:///y", "names no bucket or container"),
    ],
)
def test_an_address_of_nothing_known_is_refused(address: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Files.at(address, "bundle")


def test_what_a_file_system_says_is_one_line() -> None:
    with pytest.raises(InputError, match=r"--model s3a://b/m: this process cannot use it \(no entry\); check"):  # noqa: SIM117
        with reached("s3a://b/m", "--model"):
            raise PermissionError("no\nentry")


def test_a_path_in_its_address() -> None:
    """pyarrow's names of buckets and containers; nothing is reached for."""
    assert Files.at("gs://bucket/a b/c/", "x").base == "bucket/a b/c"
    assert Files.at("abfss://box@account.dfs.core.windows.net/a", "x").base == "box/a"


def test_volumes_are_folders_where_they_are_mounted(monkeypatch: pytest.MonkeyPatch) -> None:
    address = "dbfs:/Volumes/main/gold/models"
    assert local_name(address) == "/Volumes/main/gold/models"
    assert require_local("/Volumes/x", "bundle") == Path("/Volumes/x")
    with pytest.raises(InputError, match="no /Volumes on this machine; expected to run on Databricks"):
        require_local(address, "bundle")
    monkeypatch.setattr(Path, "exists", lambda _: True)
    assert require_local(address, "bundle") == Path("/Volumes/main/gold/models")
