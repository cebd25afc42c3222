"""The page in a real browser: it draws without a word on the console, and its slider tells what Python tells."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from remedi_spark.report.page import budget, charts
from remedi_spark.report.page import formatting as fmt
from remedi_spark.report.page.history import render_history
from remedi_spark.report.page.model import Report
from remedi_spark.report.page.render import render
from tests.reporting.browser import POLICY, ask, browse, needs_chromium, pages
from tests.reporting.test_nights_page import year

pytestmark = [needs_chromium, pytest.mark.slow]

BUDGETS = (0.5, 3.2, 7.5, 12.34, 50.0)
SLIDE = """
  const input = document.getElementById("budget-number");
  const answers = {};
  for (const share of %s) {
    input.value = share;
    input.dispatchEvent(new Event("input", { bubbles: true }));
    const cells = [...document.querySelectorAll("#budget-table [data-key]")];
    answers[share] = Object.fromEntries(cells.map((c) => [c.dataset.key, c.querySelector(".value").textContent]));
    answers[share].said = document.getElementById("budget-said").textContent;
    answers[share].line = document.querySelector("[data-figure=gains]").layout.shapes[0].x0;
    answers[share].range = Number(document.getElementById("budget-range").value);
  }
  return answers;
"""
LOOK = """
  const page = document.getElementById("phone")?.contentDocument ?? document;
  const charts = [...page.querySelectorAll(".chart")];
  return {
    drawn: charts.filter((chart) => chart.querySelector("svg.main-svg")).length,
    cut: charts.filter((chart) => chart.scrollWidth > chart.clientWidth + 1).length,
    width: page.documentElement.clientWidth,
    scrolls: page.documentElement.scrollWidth,
    owned: page.defaultView.owned ?? null,
  };
"""


def test_the_page_draws_under_its_own_policy_without_a_word_on_the_console(report: Report, tmp_path: Path) -> None:
    page, said = browse(render(report), tmp_path)
    assert said == []
    assert page.count('class="chart js-plotly-plot"') == len(charts.figures(report))


def test_a_long_configuration_does_not_fill_the_paper(report: Report, tmp_path: Path) -> None:
    made = report.provenance
    assert made is not None
    lines = "\n".join(f"  key_{n}: null" for n in range(1200))
    long = report.model_copy(update={"provenance": made.model_copy(update={"configuration": lines})})
    assert pages(render(long), tmp_path) - pages(render(report), tmp_path) <= 5


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_the_slider_tells_what_python_tells(report: Report, tmp_path: Path, task: str) -> None:
    if task == "regression":
        amounts = {"task": task, "positives": None, "prior": None, "total": 123456.7}
        report = report.model_copy(update={"head": report.head.model_copy(update=amounts)})
    answers = ask(render(report), SLIDE % json.dumps(BUDGETS), tmp_path)
    for per_cent in BUDGETS:
        share, found = per_cent / 100, answers[f"{per_cent:g}"]
        assert found["line"] == pytest.approx(share)
        curves = {model.role: budget.curve_of(report, model.result.name) for model in budget.compared(report)}
        for role, curve in (curves | {"random": None}).items():
            outcome = budget.at_budget(curve, share, report.head)
            assert found[f"{role}-reached"] == fmt.count(outcome.reached)
            assert found[f"{role}-recall"] == fmt.percent(outcome.recall)
            assert found[f"{role}-precision"] == (fmt.number if task == "regression" else fmt.percent)(
                outcome.precision
            )
            assert found[f"{role}-lift"] == fmt.number(outcome.lift)
        contacted = budget.at_budget(None, share, report.head).contacted
        assert found["said"] == f"Best {fmt.budget(share)}: {contacted:,} of {report.head.rows:,} owners"
    assert answers["50"]["range"] == 50


def test_hostile_names_run_nothing_even_without_the_policy(hostile_report: Report, tmp_path: Path) -> None:
    answer = ask(render(hostile_report), LOOK, tmp_path)
    assert answer["owned"] is None
    assert answer["drawn"] == len(charts.figures(hostile_report))


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_scrolls_one_way_only(hostile_report: Report, tmp_path: Path, width: int) -> None:
    # A browser's window cannot be made as narrow as a phone; a frame can. Hostile names are long names, too.
    (tmp_path / "inner.html").write_text(POLICY.sub("", render(hostile_report)), encoding="utf-8")
    frame = f'<!doctype html><body><iframe id="phone" src="inner.html" width="{width}" height="844"></iframe></body>'
    answer = ask(frame, LOOK, tmp_path)
    assert width - 20 <= answer["width"] <= width
    assert answer["scrolls"] <= answer["width"]
    assert answer["cut"] == 0
    assert answer["drawn"] == len(charts.figures(hostile_report))


def test_a_year_of_nights_is_drawn_without_a_word_or_a_script(tmp_path: Path) -> None:
    page, said = browse(render_history(year()), tmp_path)
    assert said == []
    assert page.count("<polygon") == 4
    assert pages(render_history(year()), tmp_path) <= 15


@pytest.mark.parametrize("width", [390, 1280])
def test_a_year_of_nights_scrolls_one_way_only(tmp_path: Path, width: int) -> None:
    (tmp_path / "inner.html").write_text(POLICY.sub("", render_history(year())), encoding="utf-8")
    frame = f'<!doctype html><body><iframe id="phone" src="inner.html" width="{width}" height="844"></iframe></body>'
    answer = ask(frame, LOOK, tmp_path)
    assert width - 20 <= answer["width"] <= width
    assert answer["scrolls"] <= answer["width"]
