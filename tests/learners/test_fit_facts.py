"""What fits tell beside their models, and which members are named for having learned nothing."""

from __future__ import annotations

from remedi_spark.models.fit_facts import fit_facts, weak_members


def test_facts_are_by_model_and_fold() -> None:
    boosted = [{"rows_used": 10, "trees": 2}, {"rows_used": 12, "trees": 90}]
    infos = {"a": boosted, "b": [{"epochs": 3, "curve": []}] * 2}
    facts = fit_facts(infos)
    assert facts == {"a": {"rows_used": [10, 12], "trees": [2, 90]}, "b": {"epochs": [3, 3]}}
    (said,) = weak_members(facts, {"a": 1000, "b": 0})
    assert said.startswith("a learned next to nothing: early stopping left 2 to 2 trees in 1 of 2 folds")
    assert weak_members(facts, {"a": 2}) == [], "two trees were all it was allowed"
