"""A bundle that is mirrored: what a killed process leaves at the address is a version or the other, whole."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest

from remedi_spark.errors import InputError
from remedi_spark.storage import file_systems
from remedi_spark.storage.file_systems import Files
from remedi_spark.storage.home import Home, home_at, open_home, published_at
from remedi_spark.storage.refused import leaving_nothing_at
from remedi_spark.storage.store import write_bytes

OLD, NEW = "a" * 12, "b" * 12


@pytest.fixture
def address() -> str:
    return f"memory://{uuid.uuid4().hex}/model"


def _publish(home: Home, version: str) -> None:
    """Write what a training leaves."""
    write_bytes(home.folder / "work" / "student" / "m.json", version.encode())
    write_bytes(home.folder / "work" / "manifest.json", version.encode())
    write_bytes(home.folder / "versions" / version / "m.json", version.encode())
    write_bytes(home.folder / "manifest.json", json.dumps({"folder": f"versions/{version}"}).encode())


def _read(address: str) -> str:
    """Return what a reader finds in the version that the manifest names."""
    home = published_at(address, "test")
    folder = json.loads((home.folder / "manifest.json").read_bytes())["folder"]
    found = (home.folder / folder / "m.json").read_text()
    assert folder == f"versions/{found}"
    return found


def test_what_is_sent_is_fetched_elsewhere(address: str) -> None:
    here = home_at(address, "test")
    _publish(here, OLD)
    (here.folder / "tables" / "samples").mkdir(parents=True)
    write_bytes(here.folder / "tables" / "samples" / "part", b"Spark's")
    write_bytes(here.folder / "work" / ".begun", b"")
    here.send()
    there = open_home(address, "test")
    names = {path.relative_to(there.folder).as_posix() for path in there.folder.rglob("*") if path.is_file()}
    assert names == {"manifest.json", f"versions/{OLD}/m.json", "work/manifest.json", "work/student/m.json"}
    (there.folder / "work" / "manifest.json").unlink()
    there.send()
    here.fetch()
    assert not (here.folder / "work" / "manifest.json").exists()
    assert (here.folder / "work" / "student" / "m.json").read_text() == OLD


def test_only_changes_travel(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    home = home_at(address, "test")
    _publish(home, OLD)
    home.send()
    written: list[str] = []
    monkeypatch.setattr(Files, "write", lambda _, name, __: written.append(name))
    home.send()
    open_home(address, "test").send()
    assert written == []
    write_bytes(home.folder / "work" / "student" / "m.json", b"other")
    home.send()
    assert written == ["work/student/m.json"]


@pytest.mark.parametrize("moment", range(8))
def test_killed_at_any_moment_it_is_the_old_or_the_new(
    address: str, moment: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = home_at(address, "test")
    _publish(home, OLD)
    home.send()
    _publish(home, NEW)
    left = [moment]

    def until_killed(self: Files, path: str, content: bytes, put: object = Files._put) -> None:
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        put(self, path, content)  # type: ignore[operator]

    with monkeypatch.context() as patch:
        patch.setattr(file_systems.Files, "_put", until_killed)
        try:
            home.send()
            done = True
        except KeyboardInterrupt:
            done = False
    assert done == (moment >= 4), "two files, and then two manifests"
    assert _read(address) == (NEW if done else OLD)
    again = open_home(address, "test")
    _publish(again, NEW)
    again.send()
    assert _read(address) == NEW


def test_a_reader_begins_again_when_another_version_is_published(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    home = home_at(address, "test")
    _publish(home, OLD)
    home.send()
    _publish(home, NEW)
    entries = Files.entries

    def meanwhile(self: Files, below: str = "", *, all_levels: bool = False) -> object:
        found = entries(self, below, all_levels=all_levels)
        home.send()
        return found

    monkeypatch.setattr(Files, "entries", meanwhile)
    assert _read(address) == NEW


def test_nothing_is_sent_when_another_run_has_taken_over(address: str) -> None:
    home = home_at(address, "test")
    _publish(home, OLD)
    home.send()
    _publish(home, NEW)

    def lost() -> None:
        raise InputError("taken over")

    home.guard = lost
    with pytest.raises(InputError, match="taken over"):
        home.send()
    assert _read(address) == OLD


def test_a_refused_training_leaves_nothing_and_keeps_what_was_there(address: str) -> None:
    home = home_at(address, "test")
    assert home.files is not None
    home.files.write("notes", b"mine")
    with pytest.raises(InputError), leaving_nothing_at(home):
        _publish(home, OLD)
        home.send()
        home.files.write("tables/samples/part", b"Spark's")
        raise InputError("no")
    assert home.names() == {"notes"}
    home.send()
    assert home.names() == {"notes"}


def test_messages_name_the_address(address: str) -> None:
    home = home_at(address, "test")
    with pytest.raises(InputError, match=f"^model {address}/x: broken$"), home.named():
        raise InputError(f"model {home.folder}/x: broken")


def test_a_folder_is_itself(tmp_path: Path) -> None:
    home = open_home(tmp_path, "test")
    _publish(home, OLD)
    home.send()
    home.fetch()
    assert (home.folder, home.at("x")) == (tmp_path, str(tmp_path / "x"))
    assert home.names() == {"manifest.json", "versions", "work"}
