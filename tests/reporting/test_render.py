from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest
from plotly.offline import get_plotlyjs

from remedi_spark.report.page import model as m
from remedi_spark.report.page import tables
from remedi_spark.report.page.formatting import METRICS
from remedi_spark.report.page.model import Report
from remedi_spark.report.page.render import render

VOID = {"meta", "input", "br", "img", "link", "hr"}


class Page(HTMLParser):
    """What the tests ask of a page: its tags with their attributes, its text, and that tags close in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(html)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.setdefault(self._open[-1] if self._open else "", []).append(data)

    def all(self, attribute: str) -> list[str]:
        return [value for _, attributes in self.tags if (value := attributes.get(attribute)) is not None]

    @property
    def data(self) -> dict[str, dict[str, object]]:
        return json.loads(next(text for text in self.texts["script"] if text.startswith('{"')))


@pytest.fixture(scope="module")
def page(report: Report) -> Page:
    return Page(render(report))


def _sections(html: str) -> list[str]:
    return re.findall(r'<section id="([a-z-]+)"', html)


def test_sections_come_in_the_order_a_reader_asks(report: Report) -> None:
    order = ["budget", "calibration", "models", "drivers", "failures", "health", "training", "provenance"]
    assert _sections(render(report)) == order


def test_the_page_opens_with_the_plain_sentence(page: Page, report: Report) -> None:
    student = next(model for model in report.models if model.kind == "student")
    said = "".join(page.texts["h1"])
    assert f"reaches {student.metrics['recall_at_k']:.0%}".removesuffix("%") in said
    assert f"Measured on {report.head.measured_on}." in page.texts["p"]


def test_nothing_is_loaded_from_anywhere(page: Page) -> None:
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"link", "iframe", "img", "object", "embed", "base"}
    assert page.all("src") == []
    assert all(link.startswith("#") for link in page.all("href"))
    assert not re.search(r"url\(|@import", "".join(page.texts["style"]))
    policy = next(value for value in page.all("content") if "default-src" in value)
    assert "default-src 'none'" in policy
    assert not re.search(r"https?:", policy)


def test_the_policy_allows_exactly_the_two_scripts_of_the_page(page: Page) -> None:
    policy = next(value for value in page.all("content") if "default-src" in value)
    scripts = [text for text in page.texts["script"] if not text.startswith('{"') and text.strip()]
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts]
    assert len(scripts) == 2
    assert re.findall(r"'sha256-([^']+)'", policy) == hashes


def test_the_page_is_plotly_and_little_more(report: Report) -> None:
    html = render(report)
    assert html.count(get_plotlyjs()[:200]) == 1
    assert len(html.encode()) - len(get_plotlyjs().encode()) < 600_000


def test_every_figure_has_its_place_and_a_label(page: Page) -> None:
    places = page.all("data-figure")
    assert sorted(places) == sorted(page.data["figures"])
    assert len(set(page.all("id"))) == len(page.all("id"))
    charts = [attributes for _, attributes in page.tags if "data-figure" in attributes]
    assert all(chart["role"] == "img" and chart["aria-label"] for chart in charts)


def test_colours_of_figures_are_defined_by_the_style(page: Page) -> None:
    used = set(re.findall(r'"var\((--[a-z0-9-]+)\)"', json.dumps(page.data["figures"])))
    assert used
    assert used <= set(re.findall(r"(--[a-z0-9-]+):", "".join(page.texts["style"])))


@pytest.mark.parametrize(
    ("left_out", "section"),
    [
        ({"gains"}, "budget"),
        ({"calibration"}, "calibration"),
        ({"models", "ablations", "experts", "gains"}, "models"),
        ({"importance", "effects"}, "drivers"),
        ({"segments", "over_time"}, "failures"),
        ({"data_health"}, "health"),
        ({"training_curves"}, "training"),
        ({"provenance"}, "provenance"),
    ],
)
def test_a_missing_part_leaves_its_section_out(report: Report, left_out: set[str], section: str) -> None:
    html = render(Report(**{name: getattr(report, name) for name in Report.model_fields if name not in left_out}))
    expected = set(_sections(render(report))) - {section} - ({"budget"} if "gains" in left_out else set())
    assert set(_sections(html)) == expected
    assert f'href="#{section}"' not in html
    Page(html)


@pytest.mark.parametrize("part", [name for name in Report.model_fields if name != "head"])
def test_any_part_stands_alone_and_can_be_missed(report: Report, part: str) -> None:
    Page(render(Report(**{"head": report.head, part: getattr(report, part)})))
    Page(render(report.model_copy(update={part: Report.model_fields[part].get_default(call_default_factory=True)})))


def test_a_head_alone_says_that_nothing_was_measured(report: Report) -> None:
    html = render(Report(head=report.head))
    assert "No model was measured" in html
    assert _sections(html) == []


def test_a_run_without_a_fuser_compares_what_it_has(report: Report) -> None:
    kept = [model for model in report.models if model.kind != "fuser"]
    page = Page(render(report.model_copy(update={"models": kept, "experts": None})))
    assert set(page.data["budget"]["curves"]) == {"student", "single"}
    assert [key for key in page.all("data-key") if key.endswith("recall")] == [
        "student-recall",
        "single-recall",
        "random-recall",
    ]


def test_ablations_stand_beside_the_whole_chain(report: Report) -> None:
    names = [row[0].text for row in tables.ablations(report).rows]
    assert names == ["fuser", "student", "fuser without relative features", "student from labels only"]


def test_the_best_of_each_column_is_strong(report: Report) -> None:
    board = tables.leaderboard(report.models, "")
    for name, best in (("ap", max), ("brier", min)):
        column = board.columns.index(METRICS[name].title)
        strong = [model for model, row in zip(report.models, board.rows, strict=True) if row[column].strong]
        assert [model.metrics[name] for model in strong] == [best(model.metrics[name] for model in report.models)]


def test_hostile_names_stay_text(hostile_report: Report, page: Page) -> None:
    spoilt = Page(render(hostile_report))
    assert [tag for tag, _ in spoilt.tags] == [tag for tag, _ in page.tags]
    assert not spoilt.all("onerror")
    assert any("<img src=x" in text and "{{ 7*7 }}" in text for text in spoilt.texts["p"])
    drawn = json.dumps(spoilt.data["figures"])
    assert "<img" not in drawn
    assert "&lt;img" in drawn


def test_three_thousand_features_fold_all_but_the_strongest(report: Report) -> None:
    many = [m.FeatureImportance(feature=f"f{i}", importance=1 / (i + 1)) for i in range(3000)]
    health = m.DataHealth(features=[m.FeatureHealth(feature=f"f{i}", null_share=0.1, psi=0.01) for i in range(3000)])
    html = render(Report(head=report.head, importance=many, data_health=health))
    assert html.count("<summary>2,980 more features</summary>") == 2
    assert len(Page(html).data["figures"]["importance"]["data"][0]["y"]) == 20  # type: ignore[index]


def test_segments_without_rows_or_buyers_say_so(report: Report) -> None:
    html = render(report)
    assert "<small>no rows</small>" in html
    assert "<small>no buyers</small>" in html
    assert "nan" not in " ".join(Page(html).texts["span"])


def test_a_regression_report_shows_its_shots(report: Report) -> None:
    head = report.head.model_copy(update={"task": "regression", "positives": None, "prior": None})
    student = m.ModelResult(name="student", kind="student", metrics={"value_at_k": 0.4, "mae": 3.25})
    shots = [m.Shot(model="student", shot="few", rows=12, mae=9.5, rmse=11.0, gmae=7.25)]
    bins = [m.LabelBin(label=float(i), rows=400 - i, weight=1.0, error=2.0 + i) for i in range(5)]
    effects = [
        m.Effect(feature="visits", values=[0.0, 3.0], mean_score=[12.0, 450.0], rows=[9, 5]),
        m.Effect(feature="city", values=["Köln", "Łódź"], mean_score=[12.0, 450.0], rows=[9, 5]),
    ]
    page = Page(render(Report(head=head, models=[student], shots=shots, label_bins=bins, effects=effects)))
    assert {"label-density", "label-error", "effect-0", "effect-1"} == set(page.data["figures"])
    assert {"9.50", "7.25", "3.25"} <= set(page.texts["span"])
    assert "MAE" in page.texts["th"], "beside the worth of the list"
    drawn = [json.dumps(page.data["figures"][f"effect-{n}"]) for n in (0, 1)]  # type: ignore[index]
    assert not any('%"' in one or ".2%" in one for one in drawn), "450 is an amount, not 45,000 per cent"


def test_warnings_and_failed_members_come_before_the_figures(report: Report) -> None:
    told = report.model_copy(
        update={
            "warnings": ["feature <b>paid</b> is label-like: AUC 0.998 by itself"],
            "failed": [m.FailedMember(model="tabm", phase="final", reason="FitError: out of memory")],
            "explained": m.Explained(rows=2000, owners=300),
        }
    )
    assert Report.model_validate_json(told.model_dump_json()) == told
    html = render(told)
    first = html.index("Before you rely on it")
    assert first < html.index("<table")
    assert "tabm (final) failed and is not in the ensemble: FitError: out of memory" in html
    assert "Feature &lt;b&gt;paid&lt;/b&gt; is label-like" in html
    assert "2,000 rows of 300 owners" in html
    assert "Before you rely on it" not in render(report)


def test_rows_used_have_a_column_where_they_are_known(report: Report) -> None:
    first, *others = report.models
    known = [first.model_copy(update={"rows_used": [900, 1000]}), *others]
    board = tables.leaderboard(known, "all")
    place = board.columns.index("Rows used")
    assert board.rows[0][place].text.startswith("900")
    assert board.rows[0][place].text.endswith("1,000")
    assert "Rows used" not in tables.leaderboard(report.models, "all").columns
