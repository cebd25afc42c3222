"""Ship the list, look at the data first, or train again: what the figures of the last scoring run amount to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from remedi_spark.config.monitoring import MonitoringConfig
from remedi_spark.maths.expected import Estimate
from remedi_spark.scoring.monitoring.estimates import Figure, past_errors
from remedi_spark.scoring.monitoring.history import MONITORING, earlier, latest
from remedi_spark.scoring.monitoring.measures import Measure, in_words

if TYPE_CHECKING:
    from remedi_spark.storage.tables import Tables

Decision = Literal["ship", "look", "retrain"]
MISSED = 2
"""Lists in a row that held fewer buyers than their estimate's interval says, after which the model is out of date."""


@dataclass(frozen=True)
class Verdict:
    """What to do with a list, and why."""

    decision: Decision
    reason: str

    def __str__(self) -> str:
        return f"{self.decision}: {self.reason}"


def verdict_of(tables: Tables, model_version: str, config: MonitoringConfig) -> Verdict | None:
    """Return the verdict on the last list of a model; None where it has not scored yet."""
    found = latest(tables, model_version)
    if found is None:
        return None
    snapshot, measures, _ = found
    facts = earlier(tables, MONITORING)
    told = {one.metric: (one.value, one.low, one.high) for one in measures if one.part == "estimated"}
    mine = None if facts is None else facts[facts["model_version"] == model_version]
    names = set() if mine is None else {name for name in mine["name"] if str(name).endswith(model_version)}
    past = [] if facts is None else list(past_errors(facts[facts["name"].isin(names)], "recall_at_k"))
    return decide(told, past, measures, config, f"snapshot {snapshot}" if snapshot else "the last batch")


def decide(
    told: Mapping[str, Figure],
    past: Sequence[tuple[float, Estimate]],
    measures: Sequence[Measure],
    config: MonitoringConfig,
    what: str = "the list",
) -> Verdict:
    """Return the verdict.

    Args:
        told: figures of the last list's estimate by name.
        past: recall of past lists of the model in the order of time, and what had been estimated.
        measures: of the last scoring run; those beyond a limit count.
        config: the limits.
        what: was scored, in words.
    """
    missed = [value < one.low for value, one in past[-MISSED:]]
    if len(missed) == MISSED and all(missed):
        came, one = past[-1]
        return Verdict(
            "retrain",
            f"the last {MISSED} lists whose labels are known held fewer buyers than estimated (recall {came:.1%},"
            f" estimated {one.value:.1%}, at least {one.low:.1%})",
        )
    value, low, high = told.get("recall_at_k", (None, None, None))
    if value is None or low is None or high is None:
        return Verdict("look", f"{what} has no estimate; see monitoring.estimates, or score again with this version")
    holds = f"{what}: expected recall {value:.1%} ({low:.1%} to {high:.1%})"
    worse = _below_promise(told, (value, low, high), config, holds)
    if worse is not None:
        return worse
    worst = [one for one in measures if one.state != "ok" and one.part in ("feature", "table")]
    if worst:
        first = sorted(worst, key=lambda one: (one.metric != "recall_lost", -(one.value or 0)))[0]
        return Verdict("look", f"{holds}; {in_words(first)}")
    return Verdict("ship", f"{holds}, {told['promised_recall'][0]:.1%} on test rows")


def _below_promise(
    told: Mapping[str, Figure], recall: tuple[float, float, float], config: MonitoringConfig, holds: str
) -> Verdict | None:
    """Return the verdict where the list is expected to hold too few of the buyers; None where it holds enough."""
    value, _, high = recall
    promised, buyers = told.get("promised_recall", (None,))[0], told.get("buyers", (None,))[0] or 0.0
    if promised is None:
        return Verdict("look", f"{holds}; the training had no test rows to hold it against, so the interval is a guess")
    lost = (promised - value) * buyers
    if value >= promised * (1 - config.retrain_loss) or lost < config.retrain_cost:
        return None
    cost = f"{holds}, {promised:.1%} on test rows: about {lost:.3g} buyers fewer"
    if high < promised:
        return Verdict("retrain", f"{cost}, more than retraining may cost (monitoring.retrain_loss, retrain_cost)")
    return Verdict("look", f"{cost}, which may be chance")
