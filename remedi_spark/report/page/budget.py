"""What a contact budget buys: the models compared, their outcome at a budget, and the sentence that opens the page."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from remedi_spark.labels.measured import GainsCurve
from remedi_spark.report.page import formatting as fmt
from remedi_spark.report.page.model import Head, ModelResult, Report, Shipped


@dataclass(frozen=True)
class Compared:
    """A model of the comparison that runs through the page, under the name the page gives it."""

    role: str
    """``student``, ``fuser`` or ``single``."""
    title: str
    result: ModelResult


@dataclass(frozen=True)
class Outcome:
    """What contacting the best ``share`` of the rows brings."""

    contacted: int
    reached: int
    """Positives, or the sum of amounts."""
    recall: float
    precision: float
    """Positives, or the amount, by row contacted."""
    lift: float


@dataclass(frozen=True)
class Headline:
    """The sentence that opens the page, and the interval of its first figure (empty when unknown)."""

    sentence: str
    spread: str


def compared(report: Report) -> list[Compared]:
    """Return the student, the fuser and the best single model, as far as the run has them, best product first."""
    found = []
    for kind in ("student", "fuser"):
        result = next((result for result in report.models if result.kind == kind), None)
        if result:
            found.append(Compared(kind, kind.capitalize(), result))
    singles = [result for result in report.models if result.kind == "base"]
    if singles:
        best = max(singles, key=_strength)
        found.append(Compared("single", f"Best single model ({best.name})", best))
    return found


def _strength(result: ModelResult) -> tuple[float, float]:
    """Order by what the headline tells, then by AP; the choice on the measured rows favours the single model."""
    first = result.metrics.get("recall_at_k")
    first = result.metrics.get("value_at_k") if first is None else first
    second = result.metrics.get("ap")
    return (-math.inf if first is None else first, -math.inf if second is None else second)


def curve_of(report: Report, name: str) -> GainsCurve | None:
    """Return the gains curve of the model ``name``."""
    return next((curve for curve in report.gains if curve.model == name), None)


def has_budget(report: Report) -> bool:
    """Tell whether there are curves to move a budget along, and something to reach."""
    return bool(report.head.reachable) and any(curve_of(report, model.result.name) for model in compared(report))


def at_budget(curve: GainsCurve | None, share: float, head: Head) -> Outcome:
    """Return the outcome of contacting the best ``share``, in (0, 1], of the rows; without a curve, at random.

    Recall is interpolated linearly between the points of the curve, starting at (0, 0);
    lift = recall / share and precision = lift · reachable / rows, that is lift = precision / prior.
    ``templates/report.js`` does the same arithmetic in the page.
    """
    recall = share if curve is None else float(np.interp(share, [0.0, *curve.share], [0.0, *curve.recall]))
    lift = recall / share
    return Outcome(
        contacted=math.floor(share * head.rows + 0.5),
        reached=math.floor(recall * head.reachable + 0.5),
        recall=recall,
        precision=lift * head.reachable / head.rows if head.rows else 0.0,
        lift=lift,
    )


def headline(report: Report) -> Headline | None:
    """Return the plain sentence that says how good the list is, or ``None`` when no model was measured."""
    models = compared(report)
    if not models:
        return None
    result, head = models[0].result, report.head
    name = "recall_at_k" if result.metrics.get("recall_at_k") is not None else "value_at_k"
    reached = result.metrics.get(name)
    if reached is None:
        return None
    whole, times = (
        (f"of the {head.buyers}", "times as many") if name == "recall_at_k" else ("of the whole value", "times as much")
    )
    bounds = fmt.interval(name, result.intervals.get(name), digits=2)
    return Headline(
        f"Contacting the best {fmt.budget(head.budget)} reaches {fmt.percent(reached, 2)} {whole}, "
        f"{fmt.number(reached / head.budget, 2)} {times} as contacting at random",
        f"95{fmt.THIN}% interval {bounds}{fmt.THIN}%" if bounds else "",
    )


def comparison(report: Report) -> str:
    """Return the sentence under the headline: the best single model, and what the student keeps of its teacher."""
    models = compared(report)
    parts = []
    single = next((model for model in models[1:] if model.role == "single"), None)
    reached = _strength(single.result)[0] if single else -math.inf
    if single and math.isfinite(reached):
        parts.append(
            f"The best single model, {single.result.name}, reaches {fmt.percent(reached, 2)} at the same budget."
        )
    kept = report.retention.ap if report.retention else None
    if kept is not None:
        parts.append(f"The student keeps {fmt.percent(kept, 3)} of the fuser's average precision.")
    if report.shipped and report.shipped.kind == "ensemble":
        parts.append(_ensemble(report.shipped))
    return " ".join(parts)


def _ensemble(shipped: Shipped) -> str:
    """Return the sentence that says what is shipped where no distilled student is, and why."""
    shares = ", ".join(f"{name} {fmt.percent(shipped.weights[name], 2)}" for name in shipped.names)
    why = (
        f"a distilled student would keep about {fmt.percent(shipped.kept, 3)} of the fuser's ranking"
        if shipped.kept is not None else "as configured"
    )  # fmt: skip
    return f"It is an ensemble of base models ({shares}): {why}."
