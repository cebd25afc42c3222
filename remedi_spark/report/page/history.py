"""The page of a year of nights: estimated and realised curves, volume, drift, models, what failed; without a script."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from remedi_spark.report.page import formatting as fmt
from remedi_spark.report.page.nights import METRICS, History, Night, checked
from remedi_spark.report.page.svg import Chart, Layer, draw

TITLES = {
    "recall_at_k": "Recall: share of all buyers who are on the list",
    "precision_at_k": "Precision: share of the list who buy",
    "lift_at_k": "Lift: times as many as a random list",
    "ap": "Average precision",
}
Figure = tuple[str, str, Markup]
"""Title, what it says beside it, drawing."""


def render_history(history: History) -> str:
    """Return all nights as one HTML page that loads nothing and runs nothing; all text of the user's is escaped."""
    environment = Environment(
        loader=PackageLoader("remedi_spark.report.page"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {
        "count": lambda value: fmt.MISSING if value is None else fmt.count(round(value)), "percent": fmt.percent,
        "number": fmt.number, "moment": fmt.moment, "heading": fmt.heading, "duration": fmt.duration,
    }  # fmt: skip
    assets = resources.files("remedi_spark.report.page") / "templates"
    style = [(assets / name).read_text(encoding="utf-8") for name in ("report.css", "history.css")]
    page: str = environment.get_template("history.html.j2").render(
        history=history, figures=figures(history.nights), last=history.nights[-1] if history.nights else None,
        style=Markup("".join(style)),
    )  # fmt: skip
    return page


def figures(nights: Sequence[Night]) -> list[Figure]:
    """Return every figure that the nights have values for."""
    found = [_told(nights, metric) for metric in METRICS]
    found += [
        _plain(nights, "Owners scored", _number, [("bars", "volume", [one.rows for one in nights])]),
        _plain(nights, "Rows in quarantine", _number, [("bars", "volume", [one.quarantined for one in nights])]),
        _plain(nights, "Drift of the score (PSI against training)", _number,
               [("line", "curve", [one.score_psi for one in nights])]),
        _plain(nights, "Buyers lost if the costliest drift is an error", _percent,
               [("bars", "warned", [one.recall_lost for one in nights])]),
        _plain(nights, "Duration", lambda x: "0" if not x else fmt.duration(x),
               [("bars", "volume", [one.seconds for one in nights])]),
    ]  # fmt: skip
    return [one for one in found if one is not None]


def _number(value: float) -> str:
    return fmt.number(value, 2)


def _percent(value: float) -> str:
    return fmt.percent(value, 2)


def _told(nights: Sequence[Night], metric: str) -> Figure | None:
    """Draw what was expected with its interval, and what came; recall beside what the training promised."""
    told = [night.figures.get(metric) for night in nights]
    value, low, high, came = (
        [None if one is None else getattr(one, name) for one in told]
        for name in ("estimated", "low", "high", "realised")
    )
    promised = [("line", "promised", [night.promised for night in nights])] if metric == "recall_at_k" else []
    percent = fmt.metric(metric).style == "percent"
    layers: list[tuple[str, str, list[float | None]]] = [*promised, ("line", "curve", value), ("dots", "came", came)]
    known, held, error = checked(nights, metric)
    said = "No labels are known yet."
    if known and error is not None:
        side = "high" if error > 0 else "low"
        said = (
            f"Of {known} lists whose labels are known, {held} lay within their 90{fmt.THIN}% interval; estimates were"
            f" {fmt.measure(metric, abs(error))} too {side} on average."
        )
    text = _percent if percent else _number
    return _plain(nights, TITLES[metric], text, layers, band=(low, high), said=said)


def _plain(
    nights: Sequence[Night],
    title: str,
    text: Callable[[float], str],
    layers: Sequence[tuple[str, str, list[float | None]]],
    *,
    band: tuple[list[float | None], list[float | None]] | None = None,
    said: str = "",
) -> Figure | None:
    if all(value is None for _, _, values in layers for value in values):
        return None
    drawn = [Layer(kind, values, style) for kind, style, values in layers]
    if band is not None:
        drawn.insert(0, Layer("band", band[0], "band", band[1]))
    names = [night.snapshot for night in nights]
    return title, said, draw(Chart(title, names, drawn, text, _new_models(nights)))


def _new_models(nights: Sequence[Night]) -> list[int]:
    versions = [night.model_version for night in nights]
    return [i for i in range(1, len(versions)) if versions[i] != versions[i - 1]]
