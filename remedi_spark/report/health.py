"""Figures of ``monitoring`` as the report's section on the state of the data."""

from __future__ import annotations

from collections.abc import Sequence

from remedi_spark.report.page.model import DataHealth, FeatureHealth, InputHealth
from remedi_spark.scoring.monitoring.measures import Measure, in_words


def health(
    measures: Sequence[Measure],
    compared: str,
    rows: int,
    past: Sequence[Measure] = (),
    sources: Sequence[InputHealth] = (),
) -> DataHealth:
    """Return the state of the inputs and the features.

    Args:
        measures: of the rows that are compared with the training rows.
        compared: which rows these are, in words.
        rows: how many.
        past: realised figures of past scores.
        sources: each table that the features were built from.
    """
    features: dict[str, dict[str, float | None]] = {}
    for one in measures:
        if one.part == "feature" and one.metric in ("null_share", "psi"):
            features.setdefault(one.name, {})[one.metric] = one.value
    beyond = [f"Beyond its limit: {in_words(one)}" for one in measures if one.state != "ok"]
    return DataHealth(
        inputs=[*sources, InputHealth(name=compared, rows=rows)],
        features=[FeatureHealth(feature=name, **found) for name, found in features.items()],
        notes=[*_score(measures, compared), *beyond, *_realised(past)],
    )


def _score(measures: Sequence[Measure], compared: str) -> list[str]:
    drift = [one.value for one in measures if one.part == "score" and one.metric == "psi"]
    note = f"Null and PSI: {compared}, against the training rows."
    return [note if not drift or drift[0] is None else f"{note} PSI of the score: {drift[0]:.3f}."]


def _realised(past: Sequence[Measure]) -> list[str]:
    found: dict[str, dict[str, float | None]] = {}
    for one in past:
        found.setdefault(one.name, {})[one.metric] = one.value
    return [
        f"Scores of {name}, now that their labels are known: recall at K {_text(facts, 'recall_at_k')}, lift"
        f" {_text(facts, 'lift_at_k')}; predicted {_text(facts, 'predicted')}, observed {_text(facts, 'observed')}."
        for name, facts in sorted(found.items())
    ]


def _text(facts: dict[str, float | None], name: str) -> str:
    value = facts.get(name)
    return "n/a" if value is None else f"{value:.3g}"
