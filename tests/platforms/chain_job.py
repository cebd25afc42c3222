"""The verbs of the chain on one platform, in a process of its own: ``chain_job.py PLATFORM INPUTS OUT VERB…``.

It runs in whatever environment it is started with. ``OUT/outcome.json`` says what each verb took, and what ran.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

sys.path.insert(0, str(Path(__file__).parents[2]))

from remedi_spark.cli import main
from remedi_spark.config.spark import SparkConfig
from remedi_spark.spark.session import get_session
from tests.cli.conftest import FAST
from tests.interpreted import SMALL
from tests.platforms.inputs import ADAPT, BACKTEST, CHAIN

SHUFFLED = 2
"""Partitions of a shuffle: the rows are few."""


class Job:
    """The verbs, below one folder."""

    def __init__(self, inputs: Path, out: Path) -> None:
        self._inputs, self._out = inputs, out
        self._events, self._tea = out / "events", out / "tea.yaml"

    def train(self) -> None:
        """Train on a table, and score it."""
        self._remedi("train", "--table", self._inputs / "owners.parquet", *_ROLES, "--model", self._out / "model",
                     *_settings(FAST))  # fmt: skip

    def score(self) -> None:
        self._remedi("score", "--table", self._inputs / "owners.parquet", "--model", self._out / "model",
                     "--out", self._out / "scores")  # fmt: skip

    def foreign(self) -> None:
        """Score with the bundle of another platform."""
        self._remedi("score", "--table", self._inputs / "owners.parquet", "--model", self._inputs / "foreign",
                     "--out", self._out / "foreign_scores")  # fmt: skip

    def run(self) -> None:
        """Events to scores."""
        self._events.mkdir(parents=True)
        shutil.copy(self._inputs / "early.parquet", self._events)
        tree = (self._inputs / "tea.yaml").read_text(encoding="utf-8")
        self._tea.write_text(tree.replace("{folder}", str(self._out)), encoding="utf-8")
        self._remedi("run", "--config", self._tea, *_settings(CHAIN))

    def features(self) -> None:
        """A refresh: events that came later."""
        shutil.copy(self._inputs / "late.parquet", self._events)
        self._remedi("features", "--config", self._tea, *_settings(CHAIN))

    def scores(self) -> None:
        self._remedi("scores", "--config", self._tea, *_settings(CHAIN))

    def export(self) -> None:
        for kind in ("parquet", "csv"):
            out = self._out / f"export_{kind}"
            self._remedi("export", "--scores", self._out / "scores", "--out", out, "--format", kind)

    def report(self) -> None:
        self._remedi("report", "--config", self._tea, *_settings(CHAIN))

    def backtest(self) -> None:
        self._remedi("backtest", "--config", self._tea, "--origins", 2, "--every", 28, *_settings(BACKTEST))

    def adapt(self) -> None:
        config, rows = self._inputs / "adapt.yaml", ("--table", self._inputs / "segments.parquet", *_ROLES)
        self._remedi("adapt", "meta-train", "--model", self._out / "meta", *rows, "--time", "day", "--config", config)
        self._remedi("adapt", "fit", "--model", self._out / "meta", "--config", config, "--segment", "new",
                     "--table", self._inputs / "support.parquet", *_ROLES, "--out", self._out / "fitted")  # fmt: skip

    def promote(self) -> None:
        self._remedi("promote", "--model", self._out / "model")

    def doctor(self) -> None:
        self._remedi("doctor", "--table", self._inputs / "owners.parquet", *_ROLES)

    def _remedi(self, *words: object) -> None:
        try:
            main([str(word) for word in words])
        except SystemExit as stop:
            if stop.code:
                raise


_ROLES = ("--label", "bought", "--id", "owner")
assert ADAPT


def _settings(values: list[str]) -> list[str]:
    return [part for value in values for part in ("--set", value)]


def _session(platform: str, out: Path) -> Any:
    settings = {**SMALL, "spark.sql.warehouse.dir": str(out / "warehouse"), "spark.local.dir": str(out / "local")}
    if platform == "connect":
        os.environ.setdefault("SPARK_REMOTE", "local[2]")
    return get_session(
        SparkConfig(master="local[2]", driver_memory="2g", shuffle_partitions=SHUFFLED, settings=settings)
    )


def run(platform: str, inputs: Path, out: Path, verbs: list[str]) -> None:
    """Run verbs in order and write down what they took."""
    out.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{out}/mlflow.db")
    begun = time.monotonic()
    spark = _session(platform, out)
    seconds = {"session": time.monotonic() - begun}
    facts = {"spark": spark.version, "session": type(spark).__module__, "python": sys.version.split()[0]}
    job = Job(inputs, out)
    for verb in verbs:
        work: Callable[[], None] = getattr(job, verb)
        begun = time.monotonic()
        work()
        seconds[verb] = time.monotonic() - begun
        told = {**facts, "seconds": {name: round(value, 1) for name, value in seconds.items()}}
        (out / "outcome.json").write_text(json.dumps(told, indent=1), encoding="utf-8")
    spark.stop()


if __name__ == "__main__":
    run(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
