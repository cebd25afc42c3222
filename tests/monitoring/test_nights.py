"""Alerts reach a webhook once and hold nothing of owners; spans and nights say where the time went and what failed."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from remedi_spark import nights, spans
from remedi_spark.config import load_config
from remedi_spark.delivery import alerts
from remedi_spark.errors import InputError, doing
from remedi_spark.progress import timed
from remedi_spark.scoring.monitoring.nights import NIGHTS, read_nights
from remedi_spark.scoring.monitoring.verdict import Verdict
from remedi_spark.storage.tables import Tables

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ON = load_config(overrides=["monitoring.alert_url=REMEDI_ALERT_URL", "monitoring.alert_exit=7"])
RETRAIN = Verdict("retrain", "snapshot 2026-01-01: expected recall 30.0%")


class Hook(BaseHTTPRequestHandler):
    """A webhook that remembers; it answers 500 while ``server.down``."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.heard.append(json.loads(body))  # type: ignore[attr-defined]
        self.send_response(500 if self.server.down else 200)  # type: ignore[attr-defined]
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[HTTPServer]:
    server = HTTPServer(("127.0.0.1", 0), Hook)
    server.heard, server.down = [], False  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("REMEDI_ALERT_URL", f"http://127.0.0.1:{server.server_port}/hook")
    yield server
    server.shutdown()
    server.server_close()


def test_each_alert_is_sent_once_and_again_only_if_it_failed(
    spark: SparkSession, hook: HTTPServer, tmp_path: Path
) -> None:
    tables = Tables(spark, str(tmp_path))
    found = alerts.of_verdict(RETRAIN, "m1", "2026-01-01")
    hook.down = True  # type: ignore[attr-defined]
    assert alerts.send(tables, found, ON) == []
    hook.down = False  # type: ignore[attr-defined]
    assert alerts.send(tables, found, ON) == found
    assert alerts.send(tables, found, ON) == []
    heard = hook.heard  # type: ignore[attr-defined]
    assert [one["kind"] for one in heard] == ["retrain", "retrain"], "one attempt that failed, one that did not"
    assert heard[-1]["text"] == "remedi: retrain: snapshot 2026-01-01: expected recall 30.0%"
    assert alerts.send(tables, alerts.of_verdict(RETRAIN, "m2", "2026-01-01"), ON), "of another model it is another"
    assert alerts.of_verdict(Verdict("ship", ""), "m1", None) == []


def test_the_webhook_comes_from_the_environment_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REMEDI_ALERT_URL", raising=False)
    with pytest.raises(InputError, match="REMEDI_ALERT_URL is not set; set it, or give null"):
        alerts.webhook(ON)
    monkeypatch.setenv("REMEDI_ALERT_URL", "file:///etc/passwd")
    with pytest.raises(InputError, match="no URL that begins with http"):
        alerts.webhook(ON)
    with pytest.raises(InputError, match=r"monitoring\.alert_url"):
        load_config(overrides=["monitoring.alert_url=https://hooks.example/secret"])
    assert alerts.webhook(load_config()) is None


def test_a_night_says_what_it_took_and_why_it_failed(spark: SparkSession, hook: HTTPServer, tmp_path: Path) -> None:
    tables = Tables(spark, str(tmp_path))
    with pytest.raises(InputError), nights.night(tables, ON, "scores"):
        raise InputError("a first run that was refused")
    assert not tables.exists(NIGHTS)
    spans.begin("r1")
    with nights.night(tables, ON, "scores"), timed("scores", {}):
        spans.count_rows(42)
    nights.tell(tables, alerts.of_verdict(RETRAIN, "m1", None), ON)
    assert nights.exit_code(ON) == 7
    assert nights.exit_code(load_config()) == 0
    spans.begin("r2")
    with pytest.raises(ValueError, match="owner 17"), nights.night(tables, ON, "run"), doing(stage="fuser"):
        raise ValueError("owner 17 is odd")
    found = read_nights(tables)
    done, failed = (found[found["state"] == state] for state in ("done", "failed"))
    assert set(done["kind"]) == {"stage", "run"}
    assert found.loc[found["metric"] == "rows", "value"].tolist() == [42]
    assert failed[["kind", "name"]].to_numpy().tolist() == [["run", "fuser"]]
    assert failed["note"].iloc[0] == "ValueError: owner 17 is odd"
    heard = [one["text"] for one in hook.heard]  # type: ignore[attr-defined]
    assert heard[-1] == "remedi: run failed in stage fuser; see the log and the table nights"
    assert not any("owner 17" in text for text in heard)


def test_spans_are_json_lines_that_add_up(tmp_path: Path) -> None:
    spans.begin("night-1")
    spans.write_to(tmp_path / "spans.jsonl")
    with spans.stage("base-models"):
        spans.unit("base_models/mlp/0", 0.25)
        spans.count_rows(100)
    with pytest.raises(RuntimeError), spans.stage("fuser"):
        raise RuntimeError
    spans.end(failed=True)
    unit, stage, broken, run = (json.loads(line) for line in (tmp_path / "spans.jsonl").read_text().splitlines())
    assert {one["traceId"] for one in (unit, stage, broken, run)} == {run["traceId"]}
    assert (unit["unit"], unit["stage"], unit["seconds"]) == ("base_models/mlp/0", "base-models", 0.25)
    assert unit["parentSpanId"] == stage["spanId"]
    assert stage["parentSpanId"] == run["spanId"]
    assert run["parentSpanId"] is None
    assert (stage["rows"], stage["status"], broken["status"]) == (100, {"code": 1}, {"code": 2})
    assert stage["endTimeUnixNano"] >= stage["startTimeUnixNano"]
    assert len({one["spanId"] for one in (unit, stage, broken, run)}) == 4
    spans.begin("another")
    assert spans.stages() == []
