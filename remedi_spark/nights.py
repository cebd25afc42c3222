"""A run from its begin to its end: what it took is noted, and who should know is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from remedi_spark import spans
from remedi_spark.delivery import alerts
from remedi_spark.errors import failure_facts
from remedi_spark.progress import run_id, side_work
from remedi_spark.scoring.monitoring.history import latest
from remedi_spark.scoring.monitoring.measures import in_words
from remedi_spark.scoring.monitoring.nights import NIGHTS, note_night
from remedi_spark.scoring.monitoring.verdict import Verdict, verdict_of

if TYPE_CHECKING:
    from remedi_spark.config import Config
    from remedi_spark.storage.tables import Tables

_raised: list[str] = []
"""Kinds of alerts that the present run has raised, sent or not."""


@contextmanager
def night(tables: Tables, config: Config, verb: str) -> Iterator[None]:
    """Note what a run took, or why it failed; alert of a failure. An interrupted run is no failure."""
    alerts.webhook(config)  # what is wrong with it is said before anything is done
    _raised.clear()
    try:
        yield
    except Exception as error:
        with side_work(verb, "noting why the run failed", "see the log"):
            if tables.exists(NIGHTS):  # a root that nothing was ever done in stays empty
                note_night(tables, verb, error)
            tell(
                tables, [alerts.of_failure(verb, failure_facts(error).get("stage"), f"{datetime.now(UTC):%F}")], config
            )
        raise
    with side_work(verb, "noting what the run took", "see the log"):
        note_night(tables, verb)


def summary(tables: Tables, config: Config, model_version: str) -> dict[str, Any]:
    """Return what a later step needs to know of the run and of the model's last list, as JSON."""
    told: dict[str, Any] = {
        "run_id": run_id(), "model_version": model_version, "alerts": list(_raised),
        "stages": {one.name: {"seconds": one.seconds, "rows": one.rows} for one in spans.stages()},
        "list": None, "verdict": None,
    }  # fmt: skip
    found = latest(tables, model_version)
    if found is not None:
        snapshot, measures, _ = found
        rows = next((one.value for one in measures if one.part == "table" and one.metric == "rows"), None)
        told["list"] = {
            "snapshot": snapshot, "rows": rows,
            "estimated": {one.metric: [one.value, one.low, one.high] for one in measures if one.part == "estimated"},
            "beyond_limits": [in_words(one) for one in measures if one.state != "ok"],
        }  # fmt: skip
        verdict = verdict_of(tables, model_version, config.monitoring)
        told["verdict"] = None if verdict is None else {"decision": verdict.decision, "reason": verdict.reason}
    return told


def judge(tables: Tables, model_version: str, config: Config) -> Verdict | None:
    """Return the verdict on the last list of a model, after telling whoever should know."""
    if not config.monitoring.enabled or config.task != "classification":
        return None
    verdict = None
    with side_work("scores", "deciding on the last list", "see the table monitoring"):
        verdict = verdict_of(tables, model_version, config.monitoring)
        found = latest(tables, model_version)
        tell(tables, alerts.of_verdict(verdict, model_version, found[0] if found else None), config)
    return verdict


def tell(tables: Tables, found: list[alerts.Alert], config: Config) -> None:
    """Send alerts, and remember that there were any."""
    _raised.extend(one.kind for one in found)
    alerts.send(tables, found, config)


def exit_code(config: Config) -> int:
    """Return 0, or what ``monitoring.alert_exit`` says where this run has raised an alert."""
    return (config.monitoring.alert_exit or 0) if _raised else 0
