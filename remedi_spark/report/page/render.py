"""From a :class:`~remedi_spark.report.page.model.Report` to one self-contained page."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup
from plotly.offline import get_plotlyjs

from remedi_spark.report.page import budget, charts, tables
from remedi_spark.report.page.assets import asset, csp_hash, environment
from remedi_spark.report.page.model import Report


@dataclass(frozen=True)
class Section:
    """A part of the page: its anchor, its title, and whether the report has anything for it."""

    anchor: str
    title: str
    present: bool

    @property
    def template(self) -> str:
        """Name of the template that draws it."""
        return f"sections/{self.anchor}.html.j2"


def render(report: Report) -> str:
    """Return the report as one HTML page that loads nothing from anywhere.

    All text of the report is escaped, in the markup, in the JSON that the page reads, and in the figures; a content
    security policy lets only the page's two own scripts run. Parts that the report lacks leave their section out.
    The page needs about 5 MB, nearly all of it plotly.js.
    """
    figures = charts.figures(report)
    # Markup: these texts are plotly's and ours. Nothing of the user's is ever marked so.
    scripts = [Markup(get_plotlyjs()), Markup(asset("report.js"))]
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            report=report,
            head=report.head,
            headline=budget.headline(report),
            comparison=budget.comparison(report),
            sections=[section for section in sections(report) if section.present],
            figures=figures,
            training_models=[name for name, _ in charts.training_by_model(report)],
            effects=report.effects[: charts.SHOWN_EFFECTS],
            page_data=_page_data(report, figures),
            tables=tables,
            style=Markup(asset("report.css")),
            scripts=scripts,
            script_hashes=[csp_hash(script) for script in scripts],
        )
    )


def sections(report: Report) -> list[Section]:
    """Return all sections in the order of the page."""
    health = report.data_health
    return [
        Section("budget", "How many to contact", budget.has_budget(report)),
        Section("calibration", "Can the probabilities be trusted", bool(report.calibration)),
        Section("models", "Which models carry it", bool(report.models or report.ablations or report.experts)),
        Section("drivers", "What drives the score", bool(report.importance or report.effects)),
        Section("labels", "Errors along the label", bool(report.shots or report.label_bins)),
        Section("failures", "Where it does less well", bool(report.segments or report.over_time)),
        Section("health", "Data health", bool(health and (health.inputs or health.features or health.notes))),
        Section("training", "How training went", bool(report.training_curves)),
        Section("provenance", "How it was made", report.provenance is not None),
    ]


def _page_data(report: Report, figures: dict[str, charts.Figure]) -> dict[str, object]:
    """Return what ``report.js`` reads: the figures, and the curves that the budget moves along."""
    curves = {model.role: budget.curve_of(report, model.result.name) for model in budget.compared(report)}
    return {
        "figures": figures,
        "budget": {
            "share": report.head.budget,
            "rows": report.head.rows,
            "reachable": report.head.reachable,
            "amounts": report.head.task == "regression",
            "owners": report.head.owners,
            "curves": {role: {"share": curve.share, "recall": curve.recall} for role, curve in curves.items() if curve},
        },
    }
