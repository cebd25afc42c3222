"""The page of a backtest: how good the list would have been at each origin, with intervals."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from remedi_spark.report.page import formatting as fmt
from remedi_spark.report.page.charts import ACCENT, INK, MUTED, RANDOM_LINE, Figure, _figure, _rounded

MEASURES = {
    "classification": ("ap", "auc", "recall_at_k", "precision_at_k", "lift_at_k"),
    "regression": ("mae", "rmse", "gmae", "few_mae", "spearman", "value_at_k"),
}
"""What a backtest keeps of each origin, by task; models are compared by the first."""
TITLES = {
    "ap": "Average precision",
    "recall_at_k": "Recall at the budget",
    "lift_at_k": "Lift at the budget",
    "mae": "Mean absolute error",
    "rmse": "Root of the mean squared error",
    "gmae": "Geometric mean of the absolute errors",
    "few_mae": "Mean absolute error where few training rows had a label like it",
    "spearman": "Rank correlation of prediction and truth (Spearman)",
    "value_at_k": "Share of the whole value within the budget",
}
"""The measures that have a curve on the page, in its order."""
_PALETTE = {ACCENT: "#0b5cad", INK: "#1b1f24", MUTED: "#5b6470", "var(--rule)": "#e1e4e8", "var(--paper)": "#ffffff"}
"""The page is light only, so its colours are set here rather than by a script."""
LINES = {"student": {"color": ACCENT, "width": 3}, "fuser": {"color": INK, "width": 1.5}}


def best_single(tree: dict[str, Any]) -> str:
    """Return the base model with the best mean of the leading measure: known only afterwards, so a bar set high."""
    lead = MEASURES[tree["task"]][0]
    base = [name for name in tree["origins"][0]["base_models"] if tree["summary"].get(name, {}).get(lead)]
    sign = 1 if fmt.metric(lead).best == "high" else -1

    def strength(name: str) -> float:
        mean = tree["summary"][name][lead]["mean"]
        return float("-inf") if mean is None else sign * mean

    best: str = max(base, key=strength)
    return best


def curves(tree: dict[str, Any], measure: str) -> Figure:
    """Return a measure over the origins: student with intervals, fuser, best single model, random."""
    scale = {"tickformat": ".0%"} if fmt.metric(measure).style == "percent" else {}
    figure = _figure({"title": "origin", "type": "date"}, {"rangemode": "tozero", **scale}, hovermode="x unified")
    days = [one["day"] for one in tree["origins"]]
    single = best_single(tree)
    lines = {**LINES, single: {"color": MUTED, "width": 1.5, "dash": "dot"}}
    for name, line in lines.items():
        values, lows, highs = zip(*(one["models"][name][measure] for one in tree["origins"]), strict=True)
        bars = None
        if name == "student" and None not in (*values, *lows, *highs):
            up = [high - value for high, value in zip(highs, values, strict=True)]
            down = [value - low for low, value in zip(lows, values, strict=True)]
            bars = {"type": "data", "array": up, "arrayminus": down, "symmetric": False, "thickness": 1, "width": 3}
        shown = f"best single: {name}" if name == single else name
        figure.add_scatter(x=days, y=list(values), name=shown, mode="lines+markers", line=line, error_y=bars)
    level = _at_random(tree, measure)
    if level is not None:
        figure.add_scatter(x=days, y=level, name="contact at random", mode="lines", line=RANDOM_LINE)
    drawn: Figure = _coloured(_rounded(figure.to_dict()))
    return drawn


def _at_random(tree: dict[str, Any], measure: str) -> list[float] | None:
    """Return what a random order has at each origin; None for an error, which no order has."""
    if measure == "ap":
        return [one["prior"] for one in tree["origins"]]
    level = {"recall_at_k": tree["budget"], "value_at_k": tree["budget"], "lift_at_k": 1.0, "spearman": 0.0}
    return [level[measure]] * len(tree["origins"]) if measure in level else None


def _coloured(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _coloured(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_coloured(item) for item in value]
    return _PALETTE.get(value, value) if isinstance(value, str) else value


def headline(tree: dict[str, Any]) -> str:
    """Return the sentence that opens the page: what the student's list was worth, from the worst origin to the best."""
    student, origins = tree["summary"]["student"], len(tree["origins"])
    if tree["task"] == "classification":
        mean, worst, best = (fmt.number(student["lift_at_k"][name]) for name in ("mean", "worst", "best"))
        return (
            f"At {origins} origins the student's list held {mean} times the buyers of a random one, "
            f"between {worst} and {best}."
        )
    mean, worst, best = (fmt.percent(student["value_at_k"][name]) for name in ("mean", "worst", "best"))
    return f"At {origins} origins the student's list held {mean} of the whole value, between {worst} and {best}."


def render_backtest(tree: dict[str, Any]) -> str:
    """Return ``backtest.json`` as one HTML page that loads nothing from anywhere; all of its text is escaped."""
    environment = Environment(
        loader=PackageLoader("remedi_spark.report.page"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters |= {
        "share": fmt.budget, "count": fmt.count, "number": fmt.number, "figure": lambda x, name: fmt.measure(name, x)
    }  # fmt: skip
    shown = {name: title for name, title in TITLES.items() if name in MEASURES[tree["task"]]}
    figures = {measure: curves(tree, measure) for measure in shown}
    assets = resources.files("remedi_spark.report.page") / "templates"
    # Markup: plotly's and ours. In the JSON "<" is escaped, so that no text of the user's can end the script.
    page: str = environment.get_template("backtest.html.j2").render(
        tree=tree, shown=shown, single=best_single(tree), headline=headline(tree),
        lead=TITLES[MEASURES[tree["task"]][0]].lower(),
        style=Markup((assets / "report.css").read_text(encoding="utf-8")), plotly=Markup(get_plotlyjs()),
        figures=Markup(json.dumps(figures).replace("<", "\\u003c")),
    )  # fmt: skip
    return page
