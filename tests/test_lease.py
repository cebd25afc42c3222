"""One run at a time in a root and in a bundle; whoever was killed holds nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from remedi_spark.errors import InputError
from remedi_spark.storage import lease as leases
from remedi_spark.storage.lease import LEASE, leased
from remedi_spark.storage.store import write_json


def _other(folder: Path, **facts: Any) -> None:
    """Leave the lease of another run."""
    known = {
        "run_id": "other", "host": "elsewhere", "pid": 1, "configuration": "a", "since": "2026-01-01T00:00:00+00:00",
        "token": "t", "beat": time.time(),
    }  # fmt: skip
    folder.mkdir(exist_ok=True)
    write_json(folder / LEASE, {**known, **facts})  # as a run does that takes over


def test_it_is_freed_in_the_end_also_of_a_failure(tmp_path: Path) -> None:
    with leased([tmp_path / "a", tmp_path / "b", tmp_path / "a"], "x") as held:
        assert [Path(one.folder).name for one in held] == ["a", "b"]
        assert json.loads((tmp_path / "a" / LEASE).read_text())["pid"] == os.getpid()
    with pytest.raises(RuntimeError), leased([tmp_path / "a"], "x"):
        raise RuntimeError
    assert not list(tmp_path.iterdir()), "nor are folders left that were made for nothing else"
    with leased([tmp_path / "deep" / "a"], "x"):
        (tmp_path / "deep" / "b").write_text("mine")
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["b"]


def test_the_second_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    with leased([tmp_path], "x"):
        with pytest.raises(InputError) as refused, leased([tmp_path], "y"):
            pass
        (found,) = str(refused.value).splitlines()
        for words in (
            str(tmp_path),
            "in use by run",
            f"process {os.getpid()}",
            "since 20",
            "with other settings",
            "wait",
        ):
            assert words in found
        with pytest.raises(InputError, match="with the same settings"), leased([tmp_path], "x"):
            pass
    with leased([tmp_path], "y"):
        pass


def test_a_second_folder_that_is_held_frees_the_first(tmp_path: Path) -> None:
    _other(tmp_path / "b")
    with pytest.raises(InputError, match="elsewhere"), leased([tmp_path / "a", tmp_path / "b"], "x"):
        pass
    assert not (tmp_path / "a").exists()
    assert (tmp_path / "b" / LEASE).exists()


@pytest.mark.parametrize(
    ("facts", "alive"),
    [
        ({}, True),
        ({"beat": time.time() - 2 * leases.STALE_SECONDS}, False),
        ({"host": "here", "pid": os.getpid()}, False),
        ({"host": "here", "pid": os.getppid()}, True),
        ({"host": "here", "pid": "gone"}, False),
        ({"host": "here", "pid": os.getppid(), "beat": 0}, False),
    ],
)
def test_whoever_is_gone_holds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, facts: dict[str, Any], alive: bool
) -> None:
    monkeypatch.setattr(leases.socket, "gethostname", lambda: "here")
    if facts.get("pid") == "gone":
        with subprocess.Popen([sys.executable, "-c", ""]) as ended:
            pass
        facts = {**facts, "pid": ended.pid}
    _other(tmp_path, **facts)
    if alive:
        with pytest.raises(InputError, match="in use by run other"), leased([tmp_path], "x"):
            pass
    else:
        with leased([tmp_path], "x"):
            pass


def test_half_a_lease_is_just_being_written(tmp_path: Path) -> None:
    (tmp_path / LEASE).write_text("{")
    with pytest.raises(InputError, match="in use"), leased([tmp_path], "x"):
        pass
    os.utime(tmp_path / LEASE, (0, 0))
    with leased([tmp_path], "x"):
        pass


def test_of_many_at_once_one_gets_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for stale in (False, True):
        if stale:
            _other(tmp_path, beat=0)
        got: list[int] = []
        ended = threading.Event()

        def compete(number: int, got: list[int] = got, ended: threading.Event = ended) -> None:
            try:
                with leased([tmp_path], "x"):
                    got.append(number)
                    ended.wait(5)
            except InputError:
                pass

        threads = [threading.Thread(target=compete, args=(number,)) for number in range(4)]
        for one in threads:
            one.start()
        time.sleep(1)
        ended.set()
        for one in threads:
            one.join()
        assert len(got) == 1


def test_a_heartbeat_is_written_and_a_lost_lease_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "BEAT_SECONDS", 0.02)
    with leased([tmp_path], "x") as (held,):
        first = json.loads((tmp_path / LEASE).read_text())["beat"]
        time.sleep(0.2)
        assert json.loads((tmp_path / LEASE).read_text())["beat"] > first
        held.require_held()
        _other(tmp_path)
        with pytest.raises(InputError, match=r"run other .* has taken over meanwhile; nothing is published"):
            held.require_held()
    assert (tmp_path / LEASE).exists(), "it is the other's now"
