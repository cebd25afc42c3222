from __future__ import annotations

import numpy as np
import pytest

from remedi_spark.report.page import budget
from remedi_spark.report.page import model as m
from remedi_spark.report.page.model import Report
from remedi_spark.report.page.tables import budget_table

HEAD = m.Head(
    title="t",
    label="l",
    run_id="r",
    model_version="1",
    generated_at="2026-03-01",
    measured_on="Held-out rows.",
    rows=1000,
    positives=20,
    prior=0.02,
    k=100,
    budget=0.1,
)
CURVE = m.GainsCurve(model="student", share=[0.1, 0.5, 1.0], recall=[0.6, 0.9, 1.0])


def _model(name: str, kind: m.Kind, recall: float | None, ap: float = 0.1) -> m.ModelResult:
    return m.ModelResult(name=name, kind=kind, metrics={"recall_at_k": recall, "ap": ap})


def test_outcome_by_hand() -> None:
    # Halfway between (.1, .6) and (.5, .9): recall .75, 15 of 20 buyers among 300 rows.
    outcome = budget.at_budget(CURVE, 0.3, HEAD)
    assert (outcome.contacted, outcome.reached) == (300, 15)
    assert outcome.recall == pytest.approx(0.75)
    assert outcome.precision == pytest.approx(15 / 300)
    assert outcome.lift == pytest.approx(2.5)


def test_outcome_below_the_first_point_starts_at_nothing() -> None:
    assert budget.at_budget(CURVE, 0.05, HEAD).recall == pytest.approx(0.3)


def test_chance_reaches_its_share() -> None:
    chance = budget.at_budget(None, 0.25, HEAD)
    assert (chance.recall, chance.precision, chance.lift) == (0.25, pytest.approx(0.02), 1.0)
    assert (chance.contacted, chance.reached) == (250, 5)


def test_outcome_at_the_budget_equals_the_metrics_of_the_run(report: Report) -> None:
    for compared in budget.compared(report):
        outcome = budget.at_budget(budget.curve_of(report, compared.result.name), report.head.budget, report.head)
        metrics = compared.result.metrics
        found = [outcome.recall, outcome.precision, outcome.lift]
        assert found == pytest.approx([metrics["recall_at_k"], metrics["precision_at_k"], metrics["lift_at_k"]])


def test_the_best_single_model_is_chosen_by_recall_then_ap() -> None:
    models = [
        _model("no recall", "base", None, 0.9),
        _model("tied", "base", 0.5, 0.2),
        _model("best", "base", 0.5, 0.3),
        _model("mean", "baseline", 0.9),
        _model("student", "student", 0.6),
    ]
    found = budget.compared(Report(head=HEAD, models=models))
    assert [(entry.role, entry.result.name) for entry in found] == [("student", "student"), ("single", "best")]


def test_headline_by_hand() -> None:
    student = m.ModelResult(
        name="s", kind="student", metrics={"recall_at_k": 0.674}, intervals={"recall_at_k": (0.611, 0.7249)}
    )
    found = budget.headline(Report(head=HEAD, models=[student]))
    assert found is not None
    plain = [text.replace("\u202f", " ") for text in (found.sentence, found.spread)]
    assert plain[0] == (
        "Contacting the best 10 % reaches 67 % of the buyers, 6.7 times as many as contacting at random"
    )
    assert plain[1] == "95 % interval 61 – 72 %"


def test_headline_of_a_regression_speaks_of_value() -> None:
    head = HEAD.model_copy(update={"task": "regression", "positives": None})
    models = [m.ModelResult(name="s", kind="student", metrics={"value_at_k": np.float64(0.4)})]
    found = budget.headline(Report(head=head, models=models))
    assert found is not None
    assert "reaches 40\u202f% of the whole value, 4.0 times as much" in found.sentence
    assert not budget.has_budget(Report(head=head, models=models, gains=[CURVE])), "nothing to reach"
    single = m.ModelResult(name="tree", kind="base", metrics={"value_at_k": 0.35})
    told = budget.comparison(Report(head=head, models=[*models, single]))
    assert told.replace("\u202f", " ") == "The best single model, tree, reaches 35 % at the same budget."


def test_outcome_of_amounts_by_hand() -> None:
    head = HEAD.model_copy(update={"task": "regression", "positives": None, "prior": None, "total": 5000.0})
    outcome = budget.at_budget(CURVE, 0.3, head)
    assert (outcome.contacted, outcome.reached, outcome.recall) == (300, 3750, pytest.approx(0.75))
    assert outcome.precision == pytest.approx(3750 / 300)
    assert outcome.lift == pytest.approx(2.5)
    models = [m.ModelResult(name="student", kind="student", metrics={"value_at_k": 0.6})]
    report = Report(head=head, models=models, gains=[CURVE])
    assert budget.has_budget(report)
    student, chance = ([cell.text for cell in row] for row in budget_table(report).rows)
    assert student[1:] == ["3,000", "60.0\u202f%", "30.0", "6.00"]
    assert chance[1:] == ["500", "10.0\u202f%", "5.00", "1.00"]


def test_without_a_measured_model_there_is_no_headline() -> None:
    assert budget.headline(Report(head=HEAD)) is None
    assert budget.headline(Report(head=HEAD, models=[_model("student", "student", None)])) is None
    assert budget.comparison(Report(head=HEAD)) == ""
