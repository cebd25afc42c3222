"""A refused training leaves the folder as it was; one that failed otherwise keeps what it has done."""

from __future__ import annotations

from pathlib import Path

import pytest

from remedi_spark.errors import InputError
from remedi_spark.storage.refused import leaving_nothing


def _train(folder: Path, error: Exception) -> None:
    with leaving_nothing(folder):
        (folder / "tables" / "samples").mkdir(parents=True)
        (folder / "contract.json").write_text("{}")
        raise error


def test_nothing_stays_of_a_refused_training(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        _train(tmp_path / "a" / "b" / "model", InputError("no"))
    assert list(tmp_path.iterdir()) == []


def test_what_was_there_stays(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(InputError):
        _train(tmp_path, InputError("no"))
    assert [path.name for path in tmp_path.iterdir()] == ["notes"]


def test_a_failure_keeps_what_is_done(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="disk"):
        _train(tmp_path / "model", OSError("disk"))
    assert (tmp_path / "model" / "contract.json").exists()
