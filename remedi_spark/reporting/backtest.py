"""The page of a backtest: how good the list would have been at each origin, with intervals."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from remedi_spark.reporting.charts import ACCENT, INK, MUTED, RANDOM_LINE, Figure, _figure, _rounded

SHOWN = {"ap": "Average precision", "recall_at_k": "Recall at the budget", "lift_at_k": "Lift at the budget"}
_PALETTE = {ACCENT: "#0b5cad", INK: "#1b1f24", MUTED: "#5b6470", "var(--rule)": "#e1e4e8", "var(--paper)": "#ffffff"}
"""The page is light only, so its colours are set here rather than by a script."""
LINES = {"student": {"color": ACCENT, "width": 3}, "fuser": {"color": INK, "width": 1.5}}


def best_single(tree: dict[str, Any]) -> str:
    """Return the base model with the highest mean average precision: known only afterwards, so a bar set high."""
    base = [name for name in tree["origins"][0]["base_models"] if name in tree["summary"]]
    best: str = max(base, key=lambda name: tree["summary"][name]["ap"]["mean"] or 0.0)
    return best


def curves(tree: dict[str, Any], measure: str) -> Figure:
    """Return a measure over the origins: student with intervals, fuser, best single model, random."""
    figure = _figure({"title": "origin", "type": "date"}, {"rangemode": "tozero"}, hovermode="x unified")
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
    chance = {"ap": [one["prior"] for one in tree["origins"]], "recall_at_k": [tree["budget"]] * len(days)}
    level = chance.get(measure, [1.0] * len(days))
    figure.add_scatter(x=days, y=level, name="contact at random", mode="lines", line=RANDOM_LINE)
    drawn: Figure = _coloured(_rounded(figure.to_dict()))
    return drawn


def _coloured(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _coloured(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_coloured(item) for item in value]
    return _PALETTE.get(value, value) if isinstance(value, str) else value


def render_backtest(tree: dict[str, Any]) -> str:
    """Return ``backtest.json`` as one HTML page that loads nothing from anywhere; all of its text is escaped."""
    environment = Environment(
        loader=PackageLoader("remedi_spark.reporting"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters |= {"figure": _number, "share": lambda share: f"{share:.1%}"}
    figures = {measure: curves(tree, measure) for measure in SHOWN}
    assets = resources.files("remedi_spark.reporting") / "templates"
    # Markup: plotly's and ours. In the JSON "<" is escaped, so that no text of the user's can end the script.
    page: str = environment.get_template("backtest.html.j2").render(
        tree=tree, shown=SHOWN, single=best_single(tree),
        style=Markup((assets / "report.css").read_text(encoding="utf-8")), plotly=Markup(get_plotlyjs()),
        figures=Markup(json.dumps(figures).replace("<", "\\u003c")),
    )  # fmt: skip
    return page


def _number(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}"
