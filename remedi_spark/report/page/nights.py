"""What the page of all scored snapshots shows, as it is stored in the table ``history`` too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from remedi_spark.report.page.model import Verdict
from remedi_spark.storage.strict_json import Number, Record

METRICS = ("recall_at_k", "precision_at_k", "lift_at_k", "ap")


class Told(Record):
    """A figure of one list: what was expected of it, and what it turned out to be."""

    estimated: Number = None
    low: Number = None
    high: Number = None
    realised: Number = None

    @property
    def held(self) -> bool | None:
        """Whether the interval held what came; None as long as one of them is not known."""
        if self.low is None or self.high is None or self.realised is None:
            return None
        return self.low <= self.realised <= self.high


class Night(Record):
    """One scored snapshot with one model, as it was measured last."""

    snapshot: str
    model_version: str
    run_id: str
    measured_at: str
    state: Literal["ok", "warn", "stopped"] = "ok"
    """``stopped``: beyond a limit, so that the former scores stayed."""
    rows: Number = None
    figures: dict[str, Told] = Field(default_factory=dict)
    """By metric of :data:`METRICS`."""
    buyers: Number = None
    """Expected in the list."""
    promised: Number = None
    """Recall on the test rows of the model's training."""
    score_psi: Number = None
    costliest: str | None = None
    """The drifted feature whose error would cost most."""
    recall_lost: Number = None
    quarantined: Number = None
    seconds: Number = None
    """Of the whole run."""


class Failure(Record):
    """A run that failed, and why."""

    at: str
    run_id: str
    verb: str
    stage: str
    note: str


class History(Record):
    """All nights, in the order of their snapshots."""

    title: str
    made: str
    nights: list[Night] = Field(default_factory=list)
    failures: list[Failure] = Field(default_factory=list)
    verdict: Verdict | None = None


def checked(nights: Sequence[Night], metric: str) -> tuple[int, int, float | None]:
    """Return how many estimates can be checked, how many held, and the mean of estimated less realised."""
    told = [night.figures[metric] for night in nights if metric in night.figures]
    known = [one for one in told if one.held is not None]
    errors = [one.estimated - one.realised for one in known if one.estimated is not None and one.realised is not None]
    return len(known), sum(bool(one.held) for one in known), sum(errors) / len(errors) if errors else None
