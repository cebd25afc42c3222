"""Verbs on one platform, in a process of its own: ``python -m tests.platforms.chain_job PLATFORM INPUTS OUT VERB…``.

It runs in whatever environment it is started with. ``OUT/outcome.json`` says what ran, and the seconds of each verb.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from remedi_spark.cli import main
from remedi_spark.config.spark import SparkConfig
from remedi_spark.spark.session import get_session
from remedi_spark.storage.file_systems import Files
from tests.cli.conftest import FAST
from tests.interpreted import SMALL
from tests.object_store import EXCLUDED, PACKAGES, spark_settings
from tests.test_backtest import SETTINGS as CHAIN

CONNECT = "connect"
ROLES = ("--label", "bought", "--id", "owner")
CONTRACT = "tests/learners/test_contract.py"
BUCKET, STORE = "REMEDI_TEST_BUCKET", "AWS_ENDPOINT_URL"
"""In the environment: an address of an empty bucket, and the S3 server that has it."""


class Job:
    """The verbs, on tables of ``inputs`` and below ``out``."""

    def __init__(self, inputs: Path, out: Path) -> None:
        self._inputs, self._out = inputs, out
        self._owners, self._tea = inputs / "owners.parquet", out / "tea.yaml"

    def train(self) -> None:
        """Train on a table."""
        _remedi("train", "--table", self._owners, *ROLES, "--model", self._out / "model",
                *_settings(FAST))  # fmt: skip

    def score(self) -> None:
        """Score the table with the bundle that was trained here."""
        self._score(self._out / "model", "scores")

    def foreign(self) -> None:
        """Score it with the bundle of another platform."""
        self._score(self._inputs / "foreign", "foreign_scores")

    def export(self) -> None:
        """Hand the scores over as files."""
        for kind in ("parquet", "csv"):
            out = self._out / f"export_{kind}"
            _remedi("export", "--scores", self._out / "scores", "--out", out, "--format", kind)

    def bucket_train(self) -> None:
        """Train on S3.

        A table to measure on spares the phase in which models are only judged; what is shipped is the same.
        """
        place = os.environ[BUCKET]
        self._put("owners.parquet", "others.parquet")
        _remedi("train", "--table", f"{place}/owners.parquet", *ROLES, "--model", f"{place}/model",
                "--test", f"{place}/others.parquet", *_settings(FAST))  # fmt: skip

    def bucket(self) -> None:
        """Score and export on S3, by another platform's model if none was trained there; keep what is handed over."""
        if not Files.at(os.environ[BUCKET], "test").exists("model"):
            self._put("owners.parquet")
            put_folder(self._inputs / "foreign", f"{os.environ[BUCKET]}/model")
        place, out = os.environ[BUCKET], f"{os.environ[BUCKET]}/{self._out.name}"
        _remedi("score", "--table", f"{place}/owners.parquet", "--model", f"{place}/model", "--out", f"{out}/scores")
        _remedi("export", "--scores", f"{out}/scores", "--out", f"{out}/export_csv", "--format", "csv")
        files = Files.at(f"{out}/export_csv", "test")
        for one in files.entries(all_levels=True):
            if not one.is_folder:
                here = self._out / "bucket" / one.name
                here.parent.mkdir(parents=True, exist_ok=True)
                here.write_bytes(files.read(one.name) or b"")

    def _put(self, *names: str) -> None:
        files = Files.at(os.environ[BUCKET], "test")
        for name in names:
            files.write(name, (self._inputs / name).read_bytes())

    def features(self) -> None:
        """Compute features of the early events."""
        (self._out / "events").mkdir(parents=True)
        shutil.copy(self._inputs / "early.parquet", self._out / "events")
        tree = (self._inputs / "tea.yaml").read_text(encoding="utf-8")
        self._tea.write_text(tree.replace("{folder}", str(self._out)), encoding="utf-8")
        self._on_events("features")

    def refresh(self) -> None:
        """Refresh them with the late events."""
        shutil.copy(self._inputs / "late.parquet", self._out / "events")
        self._on_events("features")

    def learners(self) -> None:
        """Run the contract that every learner keeps, as far as it is kept in this session."""
        self._contract("-m", "spark")

    def contract(self) -> None:
        """Run all of it: other libraries than the suite's fit here."""
        self._contract()

    def _contract(self, *words: str) -> None:
        import pytest

        code = pytest.main(["-n", "0", "-q", "-p", "no:cacheprovider", *words, CONTRACT])
        if code:
            raise SystemExit(int(code))

    def run(self) -> None:
        """Run the whole chain from events."""
        self._on_events("run")

    def report(self) -> None:
        """Measure and report again."""
        self._on_events("report")

    def backtest(self) -> None:
        """Roll two origins."""
        self._on_events("backtest", "--origins", 2, "--every", 28)

    def adapt(self) -> None:
        """Meta-train, and adapt to a segment."""
        meta, config = self._out / "meta", ("--config", self._inputs / "adapt.yaml", "--root", self._out / "adapted")
        _remedi("adapt", "meta-train", "--model", meta, "--table", self._inputs / "segments.parquet", *ROLES,
                "--time", "day", *config)  # fmt: skip
        _remedi("adapt", "fit", "--model", meta, "--segment", "new", "--table", self._inputs / "support.parquet",
                *ROLES, "--out", self._out / "fitted", *config[:2])  # fmt: skip

    def promote(self) -> None:
        """Make the bundle the first champion."""
        _remedi("promote", "--model", self._out / "model")

    def doctor(self) -> None:
        """Examine session and table."""
        _remedi("doctor", "--table", self._owners, *ROLES)

    def _score(self, model: Path, out: str) -> None:
        _remedi("score", "--table", self._owners, "--model", model, "--out", self._out / out)

    def _on_events(self, verb: str, *words: object) -> None:
        _remedi(verb, "--config", self._tea, *words, *_settings(CHAIN))


def put_folder(folder: Path, address: str) -> None:
    """Copy a folder of this machine to an address."""
    for path in folder.rglob("*"):
        if path.is_file():
            Files.at(address, "test").write(path.relative_to(folder).as_posix(), path.read_bytes())


def _remedi(*words: object) -> None:
    try:
        main([str(word) for word in words])
    except SystemExit as stop:
        if stop.code:
            raise


def _settings(values: list[str]) -> list[str]:
    return [part for value in values for part in ("--set", value)]


def _session(platform: str, out: Path) -> Any:
    settings = {**SMALL, "spark.sql.warehouse.dir": str(out / "warehouse"), "spark.local.dir": str(out / "local")}
    if platform == CONNECT:
        os.environ.setdefault("SPARK_REMOTE", "local[2]")
    packages: tuple[str, ...] = ()
    if STORE in os.environ:
        store = {f"spark.hadoop.{name}": value for name, value in spark_settings(os.environ[STORE]).items()}
        packages, settings = PACKAGES, {**settings, **store, "spark.jars.excludes": EXCLUDED}
    return get_session(
        SparkConfig(master="local[2]", driver_memory="2g", shuffle_partitions=2, packages=packages, settings=settings)
    )


def run(platform: str, inputs: Path, out: Path, verbs: list[str]) -> None:
    """Run verbs in order and write down what they took."""
    out.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{out}/mlflow.db")
    begun = time.monotonic()
    spark = _session(platform, out)
    facts = {"spark": spark.version, "session": type(spark).__module__, "python": sys.version.split()[0]}
    seconds = {"session": time.monotonic() - begun}
    job = Job(inputs, out)
    for verb in verbs:
        begun = time.monotonic()
        getattr(job, verb)()
        seconds[verb] = time.monotonic() - begun
        told = {**facts, "seconds": {name: round(value, 1) for name, value in seconds.items()}}
        (out / "outcome.json").write_text(json.dumps(told, indent=1), encoding="utf-8")


if __name__ == "__main__":
    run(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
