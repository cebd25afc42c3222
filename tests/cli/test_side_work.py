"""What goes wrong beside the main work does not stop it: scores and models stand, and the end of the run says so."""

from __future__ import annotations

import types
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from remedi_spark import running
from remedi_spark.config import load_config
from remedi_spark.delivery import mlflow_example as example
from remedi_spark.delivery import mlflow_registry as registry
from remedi_spark.flow import STUDENT
from remedi_spark.progress import begin_run, log_at_end
from remedi_spark.samples.schema import Feature
from remedi_spark.scoring.monitoring import monitor
from remedi_spark.scoring.monitoring.measures import Scored
from remedi_spark.scoring.monitoring.monitor import Monitor
from remedi_spark.storage.store import ModelStore
from tests.cli.conftest import Command, Trained


def _broken(*_: Any, **__: Any) -> Any:
    raise RuntimeError("the disk of monitoring is full")


@pytest.mark.parametrize("broken", ["earlier", "to_frame", "against_training"])
def test_monitoring_cannot_stop_scores(
    broken: str, trained: Trained, remedi: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor, broken, _broken)
    done = remedi("score", "--table", trained.table, "--model", trained.bundle, "--out", tmp_path / "scores.parquet")
    assert done.code == 0, done.err
    assert len(pd.read_parquet(tmp_path / "scores.parquet")) == len(trained.frame)
    assert "the disk of monitoring is full" in done.message
    assert "the main work is done, but" in done.message


class _Batch:
    """A scored batch, as far as monitoring looks at it."""

    table, rows, parts = "owners", 3, None

    def counts(self) -> Any:
        return object(), object()


def test_past_scores_are_measured_after_the_write_unless_they_may_stop_it(
    spark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from remedi_spark.storage.tables import Tables

    order: list[str] = []
    monkeypatch.setattr(monitor, "realised", lambda *_: order.append("past") or [])
    monkeypatch.setattr(
        Monitor, "_scored", lambda self, *_: Scored("owners", "2026-01-31", "m1", "r1", self.moment, [])
    )
    monkeypatch.setattr(Monitor, "_with_costs", lambda self, batch, measures, k: measures)
    monkeypatch.setattr(Monitor, "_estimated", lambda *_: [])
    for settings, expected in ((), ["write", "past"]), (("monitoring.lift_stop=0.5",), ["past", "write"]):
        order.clear()
        looking = Monitor(Tables(spark, str(tmp_path)), "monitoring", load_config(None, settings))
        looking.look(_Batch(), date(2026, 1, 31), budget=0.5)  # type: ignore[arg-type]
        order.append("write")
        looking.done(past=True)
        assert order == expected


def test_mlflow_down_leaves_the_training_finished(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from remedi_spark.progress import log_to_stderr

    log_to_stderr()
    begin_run()
    monkeypatch.setattr(registry, "log_run", _broken)
    registry.log_if_possible(Path("model"), load_config(), {})
    log_at_end()
    told = capfd.readouterr().err
    assert "logging to MLflow failed" in told
    assert "remedi promote" in told


@pytest.mark.parametrize(("edges", "far"), [([2_932_896.0], True), ([-171_000.0, 0.0], True), ([20_000.0], False)])
def test_days_that_mlflow_cannot_hold_have_no_datetime_in_the_signature(edges: list[float], far: bool) -> None:
    assert example._far(Feature("d", "date"), edges) is far
    assert not example._far(Feature("n", "number"), edges)


def test_a_ledger_that_cannot_be_written_does_not_mask_the_error(tmp_path: Path) -> None:
    ledger = types.SimpleNamespace(recorded=0, flush=_broken)
    workspace = types.SimpleNamespace(models=lambda _: ModelStore(tmp_path), ledger=ledger)
    with pytest.raises(ValueError, match="the real one"), running._timed(workspace, STUDENT):  # type: ignore[arg-type]
        raise ValueError("the real one")


@pytest.mark.parametrize("day", ["9999-12-31", "0001-01-01", "1500-02-28", "2026-01-31"])
def test_days_of_any_year_in_the_input_example(day: str) -> None:
    days = float(np.datetime64(day, "D").astype(int))
    for kind in ("date", "timestamp"):
        found = pd.DataFrame({"d": example._column(0, Feature("d", kind), None, [days])})  # type: ignore[arg-type]
        assert str(found["d"].dtype) == "datetime64[s]"
        assert str(found["d"][0])[:10] == day
        assert day in found.to_json(orient="split", date_format="iso")
