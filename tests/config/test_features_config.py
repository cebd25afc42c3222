"""The ``features`` section refuses what cannot be meant, in one line that says where."""

from __future__ import annotations

from typing import Any

import pytest

from remedi_spark.config.features import FeaturesConfig
from remedi_spark.config.loading import merge, validate
from remedi_spark.errors import InputError

BASE: dict[str, Any] = {
    "entity": "owner",
    "sources": {"events": {"path": "events.parquet", "event_time": "at"}},
    "groups": {"total": {"source": "events", "measures": {"spend": {"aggregate": "sum", "of": "amount"}}}},
    "label": {"source": "events", "filter": "kind = 'buy'"},
}


def declared(**over: Any) -> FeaturesConfig:
    return validate(FeaturesConfig, merge(BASE, over), "test")


def total(**measure: Any) -> dict[str, Any]:
    return {"total": {"measures": {"spend": measure}}}


def test_the_smallest_declaration_is_enough() -> None:
    config = declared()
    assert config.windows == [7, 28, 84]
    assert config.label.gap_days == 0


@pytest.mark.parametrize(
    ("over", "message"),
    [
        ({"windows": [7, 0]}, r"windows\.1: found 0, expected days \(28\), hours \(6h, at most 8784h\) or ever"),
        ({"groups": total(windows=[0])}, r"found 0"),
        ({"label": {"gap_days": -3}}, "overlap"),
        ({"label": {"source": "event"}}, "no source 'event'; did you mean 'events'"),
        ({"label": {"category": "TEA"}}, "'column' and 'category' go together"),
        ({"label": {"kind": "sum", "of": "amount", "at_risk_within_days": 7}}, "goes with kind binary"),
        ({"attributes": {"plan": {"path": "a", "until": "end", "columns": ["x"]}}}, "'until' needs 'time'"),
        ({"label": {"kind": "sum"}}, "kind sum needs 'of'"),
        (
            {"groups": {"total": {"source": "evnts"}}},
            r"groups\.total\.source: no source 'evnts'; did you mean 'events'",
        ),
        ({"groups": {"total": {"each": "kind"}}}, "exactly one of 'levels', 'top' and 'edges'"),
        ({"groups": {"total": {"where": "kind = {category}"}}}, r"label\.category is not set"),
        ({"groups": {"total": {"where": "kind = {colour}"}}}, "unknown {colour}"),
        ({"groups": {"total": {"called": ["{level}", "{level}"]}}}, r"called: unknown {level}; known: {category} and"),
        ({"groups": {"total": {"called": ["a", "{parent}"]}}}, r"called uses {parent}, but label\.parent is not set"),
        ({"groups": total(aggregate="mean", of=None)}, "aggregate mean needs 'of'"),
        ({"groups": total(aggregate="share")}, "'within'"),
        ({"groups": total(aggregate="share", within="totals")}, "not a group.*did you mean 'total'"),
        ({"groups": total(aggregate="trend", windows=[28, 7])}, "short < long"),
        ({"groups": total(aggregate="days_since_last", windows=[28])}, "leave 'windows' out"),
        ({"groups": total(aggregate="medain")}, "found 'medain'"),
        ({"groups": total(aggregate="percentile", at=1.5)}, r"at: found 1.5, input should be less than or equal to 1"),
        ({"groups": total(aggregate="percentile")}, r"'at' \(0 to 1\) goes with"),
        ({"groups": total(aggregate="last_k", k=0)}, r"k: found 0, input should be greater than or equal to 1"),
        ({"groups": total(aggregate="trend", windows=[7, "ever"])}, "give windows in days"),
        ({"groups": {"total": {"each": "kind", "top": 10_000}}}, "less than or equal to 1000"),
        ({"groups": {"total": {"each": "kind", "levels": [*"ab"] * 5_000}}}, "at most 1000 items"),
        ({"groups": {"total": {"each": "amount", "edges": [5, 5]}}}, "expected ascending numbers"),
        ({"sources": {"events": {"table": "events"}}}, "exactly one"),
        ({"attributes": {"events": {"path": "a", "columns": ["x"]}}}, "both a source and attributes"),
        ({"sources": {"events": {"contract": {"unqiue": ["id"]}}}}, r"contract\.unqiue'; did you mean 'unique'"),
        (
            {"sources": {"events": {"contract": {"references": {"item": {"to": "itms", "column": "item"}}}}}},
            "references.item.to: no table 'itms'",
        ),
        ({"custom": {"x": {"factory": "a:B", "sources": ["evnts"]}}}, "no source 'evnts'; did you mean 'events'"),
        ({"quarantine": {"max_share": 5}}, "less than or equal to 1"),
        ({"snapshots": {"every_day": 7}}, r"unknown key 'snapshots\.every_day'; did you mean 'every_days'"),
    ],
)
def test_a_wrong_declaration_is_one_line(over: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        declared(**over)
    assert "\n" not in str(caught.value)
