"""Ctrl-C and SIGTERM end the command within seconds, with the shell's exit code, and free what it held."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from remedi_spark.storage.lease import LEASE

HOLDER = """
import sys, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from remedi_spark.cli import interrupts, verbs as cli
from remedi_spark.storage.lease import leased

interrupts.GRACE_SECONDS = 1.0

def work(*_, **__):
    with leased([Path(sys.argv[1])], "x"):
        if sys.argv[2] == "deaf":
            with ThreadPoolExecutor(1) as pool:
                pool.submit(time.sleep, 60)
                print("held", flush=True)
                time.sleep(60)
        print("held", flush=True)
        time.sleep(60)

cli.app = work
cli.main()
"""


@pytest.mark.parametrize(("kind", "number", "code"), [("deaf", signal.SIGINT, 130), ("listening", signal.SIGTERM, 143)])
def test_a_signal_ends_it(tmp_path: Path, kind: str, number: signal.Signals, code: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path), kind], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "held\n"
        assert (tmp_path / LEASE).exists()
        started = time.monotonic()
        run.send_signal(number)
        _, told = run.communicate(timeout=30)
    assert run.returncode == code
    assert time.monotonic() - started < 20
    assert told.strip().endswith("remedi: interrupted; run the same command again to go on")
    assert not (tmp_path / LEASE).exists()
