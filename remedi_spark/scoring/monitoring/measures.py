"""The figures of one scoring run, each with what it means for the run: ``ok``, ``warn`` or ``stop``."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from remedi_spark.config.monitoring import MonitoringConfig
from remedi_spark.errors import InputError
from remedi_spark.maths.drift import psi, psi_by_chance
from remedi_spark.scoring.monitoring.distribution import Array, Counts, Distribution, training_counts

Part = Literal["table", "feature", "score", "estimated", "realised"]
State = Literal["ok", "warn", "stop"]
_WORDS = {
    "psi": "PSI against training", "null_rise": "more nulls than at training by", "unseen_rise": "unseen levels",
    "rows_lost": "rows lost since the run before", "lift_at_k": "realised lift",
}  # fmt: skip
_SETTING = {"unseen_rise": "unseen", "lift_at_k": "lift", "recall_lost": "loss"}
_FIRST = "recall_lost"
"""What says which feature to look at first, whatever other figures are."""


@dataclass(frozen=True)
class Measure:
    """One row of the table ``monitoring``."""

    part: Part
    name: str
    """The feature by the user's name, or ``rows``, ``score``, or the snapshot whose past scores were measured."""
    metric: str
    value: float | None
    state: State = "ok"
    low: float | None = None
    """Bounds of an estimate's 90 % interval."""
    high: float | None = None


@dataclass(frozen=True)
class Scored:
    """What was scored, and how it looks."""

    table: str
    snapshot: str | None
    model_version: str
    run_id: str
    measured_at: datetime
    measures: list[Measure] = field(default_factory=list)

    @property
    def worst(self) -> list[Measure]:
        """The measures that are not ok: those that stop first, then drift by what it costs."""
        found = [one for one in self.measures if one.state != "ok"]
        return sorted(found, key=lambda one: (one.state != "stop", one.metric != _FIRST, -(one.value or 0)))

    @property
    def refused(self) -> bool:
        """Whether a measure has passed a limit that stops."""
        return any(one.state == "stop" for one in self.measures)

    def refuse(self) -> None:
        """Raise when a measure has passed a limit that stops.

        Raises:
            InputError: naming the worst of them, the limit, and what to do.
        """
        stopping = [one for one in self.worst if one.state == "stop"]
        if stopping:
            one = stopping[0]
            more = f" (and {len(stopping) - 1} more)" if len(stopping) > 1 else ""
            setting = _setting(one)
            raise InputError(
                f"table {self.table}{f', snapshot {self.snapshot}' if self.snapshot else ''}: {in_words(one)}{more};"
                f" beyond monitoring.{setting}_stop, so that scores were not replaced; fix the input, train again, or"
                f" accept it once with --set monitoring.{setting}_stop=null"
            )


def in_words(measure: Measure, feed: str | None = None) -> str:
    """Return what was measured in words; ``feed`` is where a feature comes from."""
    value = "n/a" if measure.value is None else f"{measure.value:.3g}"
    if measure.metric == _FIRST and measure.value is not None:
        where = f" (from {feed})" if feed else ""
        return f"{measure.name}{where}: if its drift is an error, the list loses {measure.value:.1%} of its buyers"
    return f"{measure.name}: {_WORDS.get(measure.metric, measure.metric)} {value}"


def _setting(measure: Measure) -> str:
    return "score_psi" if measure.part == "score" else _SETTING.get(measure.metric, measure.metric)


def against_training(
    now: Counts, distribution: Distribution, names: Sequence[str], config: MonitoringConfig
) -> Iterator[Measure]:
    """Compare scored rows with the training rows, feature by feature, and their scores."""
    then = training_counts(distribution)
    for i, name in enumerate(names):
        nulls, rise = now.null_share(i), now.null_share(i) - then.null_share(i)
        yield Measure("feature", name, "null_share", nulls)
        if rise > 0:
            yield _judged("feature", name, "null_rise", rise, config.null_rise_warn, config.null_rise_stop)
        unseen = now.unseen_share(i)
        if unseen is not None:
            yield Measure("feature", name, "unseen_share", unseen)
            rise = unseen - (then.unseen_share(i) or 0.0)
            yield _judged("feature", name, "unseen_rise", rise, config.unseen_warn, config.unseen_stop)
        yield _drift("feature", name, then.features[i], now.features[i], config.psi_warn, config.psi_stop)
    yield Measure("score", "score", "mean", now.score_sum / max(1, now.rows))
    if len(then.scores):
        yield _drift("score", "score", then.scores, now.scores, config.score_psi_warn, config.score_psi_stop)


def drifted(measures: Sequence[Measure], names: Sequence[str]) -> list[int]:
    """Return positions of the features that a measure warns of, those that have moved most first."""
    moved: dict[str, float] = {}
    for one in measures:
        if one.part == "feature" and one.state != "ok":
            moved[one.name] = max(moved.get(one.name, 0.0), one.value or 0.0)
    place = {name: i for i, name in enumerate(names)}
    return [place[name] for name in sorted(moved, key=lambda name: -moved[name])]


def with_costs(
    measures: Sequence[Measure], recall: Mapping[str, float], ap: Mapping[str, float], config: MonitoringConfig
) -> Iterator[Measure]:
    """Yield the measures and what the drift of features costs.

    A drift of which the list loses less than ``loss_warn`` warns of nothing: its PSI is kept, as ``ok``.
    """
    for one in measures:
        cheap = config.loss_warn is not None and recall.get(one.name, 1.0) < config.loss_warn
        harmless = cheap and one.part == "feature" and one.metric == "psi" and one.state == "warn"
        yield replace(one, state="ok") if harmless else one
    for name, lost in recall.items():
        yield _judged("feature", name, "recall_lost", lost, config.loss_warn, config.loss_stop)
        yield Measure("feature", name, "ap_lost", ap[name])


def row_counts(rows: int, before: int | None, config: MonitoringConfig) -> Iterator[Measure]:
    """Compare the number of rows with that of the scoring run before, if there was one."""
    yield Measure("table", "rows", "rows", rows)
    if before:
        yield _judged("table", "rows", "rows_lost", 1 - rows / before, config.rows_lost_warn, config.rows_lost_stop)


def realised_lift(name: str, lift: float | None, config: MonitoringConfig) -> Measure:
    """Judge the realised lift of past scores: here less is worse."""
    state: State = "ok"
    if lift is not None:
        low, least = config.lift_warn, config.lift_stop
        state = "stop" if least is not None and lift < least else "warn" if low is not None and lift < low else "ok"
    return Measure("realised", name, "lift_at_k", lift, state)


def _drift(part: Part, name: str, then: Array, now: Array, warn: float | None, stop: float | None) -> Measure:
    found = _judged(part, name, "psi", psi(then, now), warn, stop)
    if found.state == "ok":
        return found
    return _judged(part, name, "psi", psi(then, now), warn, stop, least=psi_by_chance(then, now.sum()))


def _judged(
    part: Part, name: str, metric: str, value: float, warn: float | None, stop: float | None, least: float = 0.0
) -> Measure:
    if not math.isfinite(value):
        return Measure(part, name, metric, None)
    beyond = [limit is not None and value > max(limit, least) for limit in (stop, warn)]
    state: State = "stop" if beyond[0] else "warn" if beyond[1] else "ok"
    return Measure(part, name, metric, value, state)
