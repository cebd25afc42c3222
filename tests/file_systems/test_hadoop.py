"""Files on Hadoop, by its own name node and data node; the chain there is in test_object_store.py."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from remedi_spark.errors import InputError
from remedi_spark.storage.file_systems import Files
from tests.file_systems.test_files import write_read_list_and_remove


@pytest.mark.slow
def test_files_do_as_elsewhere(hdfs: str) -> None:
    write_read_list_and_remove(Files.at(f"{hdfs}/some where/here", "test"))


@pytest.mark.slow
def test_at_no_moment_is_there_no_file(hdfs: str) -> None:
    """A reader of a manifest, or of a lease, finds the former one or the new one."""
    files = Files.at(f"{hdfs}/replaced", "test")
    files.write("manifest.json", b"0")
    over, found = threading.Event(), set()

    def read() -> None:
        while not over.is_set():
            found.add(files.read("manifest.json"))

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(200):
        files.write("manifest.json", str(number % 2).encode())
    over.set()
    reader.join()
    assert found == {b"0", b"1"}
    assert [one.name for one in files.entries()] == ["manifest.json"]


@pytest.mark.slow
def test_what_may_not_be_looked_at_is_not_missing(hdfs: str) -> None:
    mine = Files.at(f"{hdfs}/private", "test")
    mine.write("manifest.json", b"x")
    mine.system._client.set_permission("/private", 0o700)
    look = (
        "from remedi_spark.storage.file_systems import Files, reached\n"
        f"with reached('{mine.address}', '--model'): print(Files.at('{mine.address}', 'x').read('manifest.json'))"
    )
    command, other = [sys.executable, "-c", look], {**os.environ, "HADOOP_USER_NAME": "somebody"}
    done = subprocess.run(command, env=other, text=True, capture_output=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "InputError: --model hdfs://" in done.stderr
    assert "Permission denied: user=somebody" in done.stderr


def test_an_unknown_name_service_is_refused_in_one_line() -> None:
    pytest.importorskip("hdfs_native")
    with pytest.raises(InputError, match=r"^root hdfs://nowhere/x: .*No NameNode hosts found.*; name host and port"):
        Files.at("hdfs://nowhere/x", "root")
