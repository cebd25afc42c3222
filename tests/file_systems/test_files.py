"""Files at addresses: of this machine, of Google's store (an emulator), of fsspec's memory, which stands for the rest.

What Hadoop's do is in test_hadoop.py, S3's in test_object_store.py.
"""

from __future__ import annotations

import hashlib
import socket
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from remedi_spark.errors import InputError
from remedi_spark.storage.file_systems import Files, reached
from remedi_spark.storage.places import local_name, require_local


@pytest.fixture(params=["local", "memory", "google"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Files:
    if request.param == "google":
        return Files.at(f"gs://anonymous@{request.getfixturevalue('google')}/{uuid.uuid4().hex}/here", "test")
    address = tmp_path / "here" if request.param == "local" else f"memory://{uuid.uuid4().hex}/here"
    return Files.at(address, "test")


@pytest.fixture(scope="module")
def google() -> Iterator[str]:
    """The name of a bucket of an emulator of Google's storage."""
    emulator = pytest.importorskip("gcp_storage_emulator.server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.MonkeyPatch.context() as patch, emulator.create_server("127.0.0.1", port, True, "remedi"):
        patch.setenv("CLOUD_STORAGE_EMULATOR_ENDPOINT", f"http://127.0.0.1:{port}")
        yield "remedi"


def test_what_is_written_is_read_listed_and_removed(files: Files) -> None:
    write_read_list_and_remove(files)


def write_read_list_and_remove(files: Files) -> None:
    """Do all that a bundle does with files."""
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
    assert all(abs(one.modified - time.time()) < 600 for one in files.entries(all_levels=True) if not one.is_folder)
    files.write("a b/x/y/z", b"deep")
    assert [one.name for one in files.entries("a b")] == ["a b/x", "a b/ö.json"]
    assert [one.name for one in files.entries("a b/x", all_levels=True)] == ["a b/x/y", "a b/x/y/z"]
    for _ in range(2):
        files.remove("c")
        files.remove_folder("a b")
    assert files.entries(all_levels=True) == []


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
