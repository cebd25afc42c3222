"""A bundle is published whole: readers see the former version or the new one, whatever happens to a training."""

from __future__ import annotations

import json
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from remedi_spark.errors import InputError
from remedi_spark.scoring.bundle import BundleParts, load_parts
from remedi_spark.storage import publish as publishing
from remedi_spark.storage.fitted import Fitted
from remedi_spark.storage.manifest import MANIFEST, read_manifest, write_manifest
from remedi_spark.storage.publish import publish, published_folder
from remedi_spark.storage.store import ModelStore, checksums, write_bytes, write_json


def seal(folder: Path, weight: int, members: tuple[str, ...] = ("trees",)) -> str:
    """Write a small bundle whose every file holds the weight; return its version."""
    store = ModelStore(folder)
    for name in ("contract", "encoder", "calibration", "distribution", "score_distribution", "dictionary", "metrics"):
        store.save(name, {"weight": {"of": str(weight)}})
    (folder / "report.html").write_text(f"<p>{weight}</p>")
    for name in members:
        for fold in range(2):
            store.save_fitted(
                Fitted("lightgbm", f"{weight}".encode(), {"trees": weight}), "student", name, f"fold_{fold}"
            )
    version = write_manifest(folder, students=list(members), folds=2)
    (folder / "report.json").write_text(json.dumps({"head": {"model_version": version}}))
    return version


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    seal(folder / "work", 1)
    publish(folder / "work", folder)
    return folder


def weight(parts: BundleParts) -> int:
    """Return the one weight that all parts have."""
    (found,) = {parts.encoder["weight"]["of"], *(one.payload.decode() for one in parts.students["trees"])}
    return int(found)


def test_a_training_leaves_the_published_version_alone(home: Path) -> None:
    before = load_parts(home)
    ModelStore(home / "work").save("encoder", {"weight": {"of": "half a training"}})
    write_bytes(home / "work" / "student" / "trees" / "fold_0.txt", b"other")
    assert load_parts(home) == before
    with pytest.raises(InputError, match="changed since training"):
        publish(home / "work", home)
    assert load_parts(home) == before


def test_publishing_replaces_model_and_copies_and_keeps_the_last_two(home: Path) -> None:
    first = load_parts(home).model_version
    (home / "versions" / "mine").mkdir()
    versions = [first]
    for made in (2, 3, 3):
        versions.append(seal(home / "work", made))
        assert publish(home / "work", home) == versions[-1]
        assert weight(load_parts(home)) == made
        assert json.loads((home / "report.json").read_text())["head"]["model_version"] == versions[-1]
        assert (home / "report.html").read_text() == f"<p>{made}</p>"
        assert published_folder(home) == home / "versions" / versions[-1]
    assert {path.name for path in (home / "versions").iterdir()} == {"mine", *versions[2:]} | {versions[1]}
    assert weight(load_parts(home / "versions" / versions[1])) == 2, "a version is a bundle by itself: one can go back"


def test_a_new_report_leaves_the_version_as_it_is(home: Path) -> None:
    before = read_manifest(home)
    (home / "work" / "report.html").write_text("<p>again</p>")
    publish(home / "work", home)
    assert read_manifest(home) == before
    assert {(where / "report.html").read_text() for where in (home, before.folder)} == {"<p>again</p>"}


def test_a_report_of_the_training_before_is_not_taken_for_one_of_this_model(home: Path) -> None:
    report = (home / "work" / "report.json").read_bytes()
    seal(home / "work", 2)
    (home / "work" / "report.json").write_bytes(report)
    publish(home / "work", home)
    assert weight(load_parts(home)) == 2
    assert not (published_folder(home) / "report.html").exists()
    assert (home / "report.html").read_text() == "<p>1</p>", "the last one that there is"


def test_the_same_model_with_another_distribution_gets_a_folder_of_its_own(home: Path) -> None:
    before = read_manifest(home)
    ModelStore(home / "work").save("distribution", {"weight": {"of": "later"}})
    write_manifest(home / "work", students=["trees"], folds=2)
    publish(home / "work", home)
    now = read_manifest(home)
    assert (now.model_version, now.folder != before.folder) == (before.model_version, True)
    assert load_parts(home).distribution["weight"] == {"of": "1"} or load_parts(home).distribution  # type: ignore[index]
    assert before.folder.exists()


def test_a_kill_before_the_last_rename_changes_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = load_parts(home)
    seal(home / "work", 2)
    with monkeypatch.context() as killed:
        killed.setattr(publishing, "write_json", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            publish(home / "work", home)
    assert load_parts(home) == before
    publish(home / "work", home)
    assert weight(load_parts(home)) == 2
    assert not [path for path in (home / "versions").iterdir() if path.name.startswith(".")]


def test_readers_never_see_a_mixture(home: Path) -> None:
    seen: list[int] = []
    ended = threading.Event()

    def read() -> None:
        while not ended.is_set():
            seen.append(weight(load_parts(home)))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for made in range(2, 12):
            seal(home / "work", made)
            publish(home / "work", home)
    finally:
        ended.set()
        reader.join()
    assert seen == sorted(seen)


def test_a_bundle_of_the_former_layout_loads_and_is_followed_by_the_new_one(tmp_path: Path) -> None:
    seal(tmp_path, 1)
    assert weight(load_parts(tmp_path)) == 1
    seal(tmp_path / "work", 2)
    publish(tmp_path / "work", tmp_path)
    assert weight(load_parts(tmp_path)) == 2


def test_only_what_is_loaded_is_sealed(home: Path) -> None:
    before = read_manifest(home / "work")
    student = home / "work" / "student"
    (student / "trees" / ".fold_0.txt.4711").write_text("half")
    ModelStore(home / "work").save_fitted(Fitted("net", b"stale", {}), "student", "former", "fold_0")
    (student / "trees" / "fold_7.txt").write_text("stale")
    assert write_manifest(home / "work", students=["trees"], folds=2) == before.model_version
    assert read_manifest(home / "work").files == before.files
    publish(home / "work", home)
    published = {path.name for path in read_manifest(home).folder.rglob("*") if path.is_file()}
    assert not published & {".fold_0.txt.4711", "fold_7.txt", "fold_0.pt"}
    assert not checksums(home / "work", ["student/trees/.*"]), "nor does the ledger know them"


def _spoil(home: Path, change: Callable[[dict[str, Any]], None]) -> None:
    from remedi_spark.storage.manifest import model_version

    tree = json.loads((home / MANIFEST).read_text())
    change(tree)
    tree["model_version"] = model_version(tree["files"]) if isinstance(tree.get("files"), dict) else "0"
    write_json(home / MANIFEST, tree)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda tree: tree["files"].pop("student/trees/fold_1.txt"), r"no checksum of student/trees/fold_1\.txt"),
        (lambda tree: tree["files"].pop("student/trees/fold_1.json"), r"no checksum of student/trees/fold_1\.json"),
        (lambda tree: tree["files"].pop("encoder.json"), r"no checksum of encoder\.json"),
        (
            lambda tree: tree["files"].update({"../../evil.txt": "0"}),
            r"names '\.\./\.\./evil\.txt', which is not inside",
        ),
        (lambda tree: tree["files"].update({"/etc/passwd": "0"}), "which is not inside"),
        (lambda tree: tree.update(folder="../other"), "which is not inside"),
        (lambda tree: tree.update(folder="/tmp"), "which is not inside"),
        (lambda tree: tree.update(files=[]), "not a model's manifest"),
        (lambda tree: tree.update(folds="two"), "not a model's manifest"),
    ],
)
def test_a_manifest_that_covers_too_little_or_points_elsewhere_is_refused(
    home: Path, change: Callable[[dict[str, Any]], None], words: str
) -> None:
    _spoil(home, change)
    with pytest.raises(InputError, match=words):
        load_parts(home)


def test_a_folder_that_a_link_leads_out_of_the_bundle_is_refused(home: Path, tmp_path: Path) -> None:
    folder = read_manifest(home).folder
    elsewhere = tmp_path / "elsewhere"
    folder.rename(elsewhere)
    folder.symlink_to(elsewhere)
    with pytest.raises(InputError, match="which is not inside"):
        load_parts(home)


def test_a_registered_copy_holds_the_sealed_files_alone(home: Path, tmp_path: Path) -> None:
    from remedi_spark.delivery.mlflow_registry import _sealed

    (home / "work" / "notes.txt").write_text("mine")
    copy = _sealed(home, tmp_path / "copy")
    assert load_parts(copy) == load_parts(home)
    assert {str(path.relative_to(copy)) for path in copy.rglob("*") if path.is_file()} == {
        MANIFEST, *read_manifest(home).files
    }  # fmt: skip
    _spoil(home, lambda tree: tree["files"].update({"../../evil.txt": "0"}))
    with pytest.raises(InputError, match="which is not inside"):
        _sealed(home, tmp_path / "other")


def _modes(home: Path) -> set[int]:
    return {stat.S_IMODE(path.stat().st_mode) for path in (home, *home.rglob("*"))}


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_files_are_their_owners_alone_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    former = os.umask(umask)
    try:
        ModelStore(tmp_path / "model" / "work").save("encoder", {})
        home = tmp_path / "bundle"
        for name in ("a", "b"):
            write_bytes(home / "deep" / name, b"1")
    finally:
        os.umask(former)
    assert _modes(home) | _modes(tmp_path / "model") == {0o700, 0o600}


def test_what_is_handed_over_has_the_permissions_of_the_umask(tmp_path: Path) -> None:
    former = os.umask(0o027)
    try:
        write_bytes(tmp_path / "out" / "manifest.json", b"{}", private=False)
    finally:
        os.umask(former)
    assert _modes(tmp_path / "out") == {0o750, 0o640}


def test_who_may_read_is_a_setting(home: Path) -> None:
    publish(home / "work", home, "group")
    readable = {MANIFEST: 0o640, "report.html": 0o640, "versions": 0o750, "work": 0o700}
    assert {name: stat.S_IMODE((home / name).stat().st_mode) for name in readable} == readable
    assert _modes(read_manifest(home).folder) == {0o750, 0o640}
    publish(home / "work", home)
    assert _modes(read_manifest(home).folder) == {0o700, 0o600}
