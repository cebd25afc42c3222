"""Alerts to a webhook: each once, without anything of single owners.

What was sent is kept in the table ``alerts``; an alert that could not be sent is tried again by the next run.
"""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from remedi_spark.config import Config
from remedi_spark.errors import InputError
from remedi_spark.progress import run_id, side_work, warn
from remedi_spark.scoring.monitoring.verdict import Verdict
from remedi_spark.spark.local_rows import local_rows

if TYPE_CHECKING:
    from remedi_spark.storage.tables import Tables

ALERTS = "alerts"
SCHEMA = "key string, sent_at timestamp, run_id string, kind string, text string"
SECONDS = 10
"""That a webhook may take to answer."""
_PLACES = ("http://", "https://")


@dataclass(frozen=True)
class Alert:
    """What somebody should know; ``key`` is the same whenever it is the same thing."""

    key: str
    kind: str
    text: str


def of_verdict(verdict: Verdict | None, model_version: str, snapshot: str | None) -> list[Alert]:
    """Return the alert of a list that is not to be used without a look."""
    if verdict is None or verdict.decision == "ship":
        return []
    key = " ".join(filter(None, (verdict.decision, snapshot, model_version)))
    return [Alert(key, verdict.decision, f"remedi: {verdict}")]


def of_failure(verb: str, stage: str | None, day: str) -> Alert:
    """Return the alert of a run that failed; once a day and stage. The cause, which may name a row, stays here."""
    where = f"{verb} failed" + (f" in stage {stage}" if stage else "")
    return Alert(f"failed {verb} {stage} {day}", "failed", f"remedi: {where}; see the log and the table nights")


def send(tables: Tables, alerts: Sequence[Alert], config: Config) -> list[Alert]:
    """Send the alerts that have not been sent; return them. Nothing that goes wrong here stops a run."""
    url = webhook(config)
    if not alerts or url is None:
        return []
    sent: list[Alert] = []
    with side_work("alerts", "sending alerts", "they are sent by the next run"):
        new = [one for one in alerts if one.key not in _known(tables)]
        try:
            for one in new:
                _post(url, one)
                sent.append(one)
        finally:
            if sent:
                same = {"sent_at": datetime.now(UTC), "run_id": run_id()}
                tables.append(local_rows(tables.spark, [{**asdict(one), **same} for one in sent], SCHEMA), ALERTS)
    for one in sent:
        warn("alerts", f"sent: {one.text}")
    return sent


def webhook(config: Config) -> str | None:
    """Return the URL, from the environment variable that ``monitoring.alert_url`` names; None: nobody is told.

    Raises:
        InputError: the variable is not set, or holds no URL.
    """
    named = config.monitoring.alert_url
    if named is None:
        return None
    url = os.environ.get(named.removeprefix("$"), "")
    if not url.startswith(_PLACES):
        found = "not set" if not url else "no URL that begins with http:// or https://"
        raise InputError(f"monitoring.alert_url: environment variable {named} is {found}; set it, or give null")
    return url


def _known(tables: Tables) -> set[str]:
    if not tables.exists(ALERTS):
        return set()
    return {row["key"] for row in tables.read(ALERTS).select(F.col("key")).distinct().collect()}


def _post(url: str, alert: Alert) -> None:
    body = json.dumps({"text": alert.text, "kind": alert.kind, "run_id": run_id()}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:
        answer.read()
