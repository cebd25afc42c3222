"""The table ``nights``: what each run took, read and quarantined, and why a run failed; nothing of single owners."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pandas as pd

from remedi_spark import spans
from remedi_spark.errors import cause, failure_facts
from remedi_spark.features.state import read_state
from remedi_spark.progress import run_id
from remedi_spark.redaction import redact
from remedi_spark.spark.local_rows import local_rows

if TYPE_CHECKING:
    from remedi_spark.storage.tables import Tables

NIGHTS = "nights"
SCHEMA = (
    "run_id string, at timestamp, verb string, kind string, name string, metric string, value double, state string,"
    " note string"
)
COLUMNS = [part.split()[0] for part in SCHEMA.split(", ")]


def note_night(tables: Tables, verb: str, error: BaseException | None = None) -> None:
    """Append what the run took by stage, what its sources held, and why it failed, in one commit."""
    rows = [*_stages(), *_sources(tables), _outcome(verb, error)]
    same = {"run_id": run_id(), "at": datetime.now(UTC).replace(microsecond=0), "verb": verb}
    empty = dict.fromkeys(("value", "state", "note"))
    tables.append(local_rows(tables.spark, [{**same, **empty, **row} for row in rows], SCHEMA), NIGHTS)


def _stages() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for one in spans.stages():
        state = "failed" if one.failed else "done"
        found.append({"kind": "stage", "name": one.name, "metric": "seconds", "value": one.seconds, "state": state})
        if one.rows is not None:
            found.append({"kind": "stage", "name": one.name, "metric": "rows", "value": float(one.rows)})
    return found


def _sources(tables: Tables) -> list[dict[str, Any]]:
    state = read_state(tables)
    findings = state.findings.items() if state is not None else ()
    return [
        {"kind": "source", "name": name, "metric": metric, "value": float(facts[key])}
        for name, facts in findings
        for metric, key in (("rows", "rows"), ("quarantined", "failed"))
    ]


def _outcome(verb: str, error: BaseException | None) -> dict[str, Any]:
    facts = {} if error is None else failure_facts(error)
    return {
        "kind": "run", "name": str(facts.get("stage", verb)), "metric": "seconds",
        "value": sum(one.seconds for one in spans.stages()), "state": "done" if error is None else "failed",
        "note": None if error is None else redact(cause(error))[:500],
    }  # fmt: skip


def read_nights(tables: Tables) -> pd.DataFrame:
    """Return the table; without a row where nothing has been noted."""
    if not tables.exists(NIGHTS):
        return pd.DataFrame(columns=COLUMNS)
    return tables.read(NIGHTS).select(*COLUMNS).toPandas()
