"""The figures of the page, as plain plotly JSON.

Colours are named (``var(--accent)``): the page resolves them to its light, dark or print palette when it draws. User
text reaches plotly only through :func:`label`, which escapes the pseudo-HTML that plotly would read in it.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from remedi_spark.labels.measured import ReliabilityBin
from remedi_spark.report.page.budget import compared, curve_of, has_budget
from remedi_spark.report.page.model import Effect, Report, TrainingCurve

Figure = dict[str, Any]
"""``{"data": […], "layout": {…}}`` for ``Plotly.newPlot``."""

SHOWN_FEATURES = 20
SHOWN_EFFECTS = 12
SHOWN_LEVELS = 8
CURVE_POINTS = 300
ACCENT, INK, MUTED, FAINT = "var(--accent)", "var(--ink)", "var(--muted)", "var(--rule)"
SERIES = [f"var(--series-{number})" for number in range(1, 9)]
ROLE_LINES = {
    "student": {"color": ACCENT, "width": 3},
    "fuser": {"color": INK, "width": 1.5},
    "single": {"color": MUTED, "width": 1.5, "dash": "dot"},
}
ROLE_NAMES = {"student": "Student", "fuser": "Fuser", "single": "Best single"}
RANDOM_LINE = {"color": MUTED, "width": 1, "dash": "dash"}


def figures(report: Report) -> dict[str, Figure]:
    """Return every figure the report has the parts for, by identifier; those of a series are numbered from 0."""
    drawn: dict[str, go.Figure] = {}
    if has_budget(report):
        drawn |= {"gains": gains(report), "lift": lift(report)}
    if report.calibration:
        drawn["calibration"] = calibration(report.calibration)
    if report.experts and report.experts.by_decile:
        drawn["gate"] = gate(report)
    if report.importance:
        drawn["importance"] = importance(report)
    drawn |= {f"effect-{n}": effect(entry, report.head.task) for n, entry in enumerate(report.effects[:SHOWN_EFFECTS])}
    if report.over_time:
        drawn["over-time"] = over_time(report)
    if report.label_bins:
        drawn |= {"label-density": label_density(report), "label-error": label_error(report)}
    drawn |= {f"training-{n}": training(curves) for n, (_, curves) in enumerate(training_by_model(report))}
    return {name: _rounded(figure.to_dict()) for name, figure in drawn.items()}


def _rounded(value: Any) -> Any:
    """Keep six significant digits: no eye sees more, and the page is half a megabyte smaller for it."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list | tuple) else value


def label(text: object, width: int = 28) -> str:
    """Return user text for plotly: cut to ``width`` characters, its markup made harmless."""
    plain = str(text)
    short = plain if len(plain) <= width else f"{plain[: width - 1]}…"
    return html.escape(short, quote=False)


def _figure(x: dict[str, Any], y: dict[str, Any], height: int = 320, **layout: Any) -> go.Figure:
    """Return an empty figure in the page's style: transparent, thin rules, no chrome, no zoom under a thumb."""
    axis = {
        "automargin": True, "fixedrange": True, "zeroline": False, "gridcolor": FAINT, "linecolor": FAINT,
        "title": {"font": {"color": MUTED, "size": 12}, "standoff": 8},
    }  # fmt: skip
    return go.Figure(
        layout={
            "template": go.layout.Template(),
            "height": height,
            "margin": {"l": 8, "r": 12, "t": 12, "b": 8},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"family": "system-ui, sans-serif", "size": 12, "color": INK},
            "hoverlabel": {"bgcolor": "var(--paper)", "bordercolor": FAINT, "font": {"color": INK}},
            "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "bgcolor": "rgba(0,0,0,0)"},
            "dragmode": False,
            "xaxis": _merged(axis, x),
            "yaxis": _merged(axis, y),
            **layout,
        }
    )


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    title = over.get("title")
    return {**base, **over, "title": {**base["title"], "text": title} if title else {}}


def gains(report: Report) -> go.Figure:
    """Return recall against the share contacted; the page moves the first shape with the budget."""
    figure = _figure(
        {"title": f"share of {label(report.head.owners)} contacted", "range": [0, 1.01], "tickformat": ".0%"},
        {"range": [0, 1.02], "tickformat": ".0%"},
        hovermode="x unified",
        shapes=[_budget_line(report.head.budget)],
    )
    for model in compared(report):
        curve = curve_of(report, model.result.name)
        if curve:
            figure.add_scatter(
                x=[0.0, *curve.share],
                y=[0.0, *curve.recall],
                name=ROLE_NAMES[model.role],
                mode="lines",
                line=ROLE_LINES[model.role],
                hovertemplate="%{y:.1%}",
            )
    figure.add_scatter(x=[0, 1], y=[0, 1], name="Random", mode="lines", line=RANDOM_LINE, hoverinfo="skip")
    return figure


def lift(report: Report) -> go.Figure:
    """Return lift = recall / share against the share contacted."""
    figure = _figure(
        {
            "title": f"share of {label(report.head.owners)} contacted",
            "range": [0, 1.01],
            "tickformat": ".0%",
            "dtick": 0.2,
        },
        {"rangemode": "tozero", "ticksuffix": "×"},
        hovermode="x unified",
        shapes=[_budget_line(report.head.budget)],
    )
    for model in compared(report):
        curve = curve_of(report, model.result.name)
        if curve:
            points = [(x, y / x) for x, y in zip(curve.share, curve.recall, strict=True) if x > 0]
            figure.add_scatter(
                x=[x for x, _ in points],
                y=[y for _, y in points],
                name=ROLE_NAMES[model.role],
                mode="lines",
                line=ROLE_LINES[model.role],
                hovertemplate="%{y:.3s}×",
            )
    figure.add_scatter(x=[0, 1], y=[1, 1], name="Random", mode="lines", line=RANDOM_LINE, hoverinfo="skip")
    return figure


def _budget_line(share: float) -> dict[str, Any]:
    line = {"color": ACCENT, "width": 1}
    return {"type": "line", "x0": share, "x1": share, "y0": 0, "y1": 1, "yref": "paper", "line": line}


def calibration(bins: Sequence[ReliabilityBin]) -> go.Figure:
    """Return the reliability curve; on logarithmic axes when the predictions span more than a factor of twenty.

    A bin in which nothing was observed has no place on a logarithmic axis: it is drawn hollow at the lower edge.
    """
    predicted = [entry.predicted for entry in bins]
    least = min((value for value in predicted if value > 0), default=0.0) / 2
    log = least > 0 and max(predicted) / least > 40
    edge = least if log else 0.0
    top = max(*predicted, *(entry.observed for entry in bins))
    axis = {"type": "log" if log else "linear", "tickformat": ",~%" if log else ".1~%", "dtick": 1 if log else None}
    figure = _figure({"title": "predicted probability", **axis}, {"title": "observed rate", **axis})
    diagonal = {"x": [edge, top], "y": [edge, top], "mode": "lines", "line": RANDOM_LINE}
    figure.add_scatter(**diagonal, name="As predicted", hoverinfo="skip")
    figure.add_scatter(**_reliability([entry for entry in bins if entry.observed >= edge], edge), name="Student")
    below = [entry for entry in bins if entry.observed < edge]
    if below:
        figure.add_scatter(**_reliability(below, edge), name="Student, off the scale")
        figure.data[-1].update(mode="markers", marker={"symbol": "circle-open"})
    return figure


def _reliability(bins: Sequence[ReliabilityBin], edge: float) -> dict[str, Any]:
    """Return the points of ``bins`` with their intervals, nothing of them drawn below ``edge``."""
    y = [max(entry.observed, edge) for entry in bins]
    upper = [(entry.observed if entry.upper is None else entry.upper) for entry in bins]
    lower = [(entry.observed if entry.lower is None else entry.lower) for entry in bins]
    return {
        "x": [max(entry.predicted, edge) for entry in bins],
        "y": y,
        "mode": "lines+markers",
        "line": {"color": ACCENT, "width": 1.5},
        "marker": {"color": ACCENT, "size": 7},
        "error_y": {
            "type": "data",
            "array": [max(0.0, bound - at) for bound, at in zip(upper, y, strict=True)],
            "arrayminus": [max(0.0, at - max(bound, edge)) for bound, at in zip(lower, y, strict=True)],
            "color": MUTED,
            "thickness": 1,
            "width": 3,
        },
        "customdata": [[entry.observed, entry.rows] for entry in bins],
        "hovertemplate": "%{x:.2%} predicted, %{customdata[0]:.2%} observed<br>%{customdata[1]:,} rows<extra></extra>",
    }


def gate(report: Report) -> go.Figure:
    """Return the mean gate weights stacked, by decile of the fused score."""
    experts = report.experts
    assert experts is not None
    deciles = list(range(1, len(experts.by_decile) + 1))
    figure = _figure(
        {"title": "decile of the fused score (1 = best)", "dtick": 1},
        {"title": "gate weight", "range": [0, 1], "tickformat": ".0%"},
        barmode="stack",
        bargap=0.15,
        hovermode="x unified",
    )
    for number, name in enumerate(experts.names):
        weights = [row[number] for row in experts.by_decile]
        figure.add_bar(
            x=deciles,
            y=weights,
            name=label(name),
            marker={"color": SERIES[number % len(SERIES)]},
            hovertemplate="%{y:.1%}",
        )
    return figure


def importance(report: Report) -> go.Figure:
    """Return the strongest features as bars, strongest on top."""
    ordered = sorted(report.importance, key=lambda entry: entry.importance or 0.0)[-SHOWN_FEATURES:]
    names = [label(entry.feature) for entry in ordered]
    positions = list(range(len(ordered)))
    figure = _figure(
        {"tickformat": ".1~%", "rangemode": "tozero", "nticks": 4, "tickangle": 0},
        {"tickvals": positions, "ticktext": names, "showgrid": False},
        height=70 + 22 * len(ordered),
        bargap=0.35,
    )
    figure.add_bar(
        x=[entry.importance for entry in ordered],
        y=positions,
        orientation="h",
        marker={"color": ACCENT},
        hovertext=[label(entry.feature, 200) for entry in ordered],
        hovertemplate="%{hovertext}: %{x:.2%}<extra></extra>",
    )
    return figure


def effect(entry: Effect, task: str) -> go.Figure:
    """Return the mean score, a probability or an amount, along a feature: a line over numbers, bars over levels."""
    numeric = all(isinstance(value, float) for value in entry.values)
    ticks, hover = (".2~%", ".2%") if task == "classification" else (".3~s", ".3~s")
    score = {"rangemode": "tozero", "tickformat": ticks, "nticks": 4}
    return _effect_of_number(entry, score, hover) if numeric else _effect_of_level(entry, score, hover)


def _effect_of_number(entry: Effect, score: dict[str, Any], hover: str) -> go.Figure:
    figure = _figure({"nticks": 5}, score, 190, showlegend=False)
    most = max(entry.rows, default=0) or 1
    return figure.add_scatter(
        x=entry.values,
        y=entry.mean_score,
        mode="lines+markers",
        line={"color": ACCENT, "width": 2},
        marker={"color": ACCENT, "size": [3 + 6 * (rows / most) ** 0.5 for rows in entry.rows]},
        customdata=entry.rows,
        hovertemplate=f"%{{x}}: %{{y:{hover}}}<br>%{{customdata:,}} rows<extra></extra>",
    )


def _effect_of_level(entry: Effect, score: dict[str, Any], hover: str) -> go.Figure:
    """Return bars for the levels with the most rows, in the order given, first on top."""
    common = sorted(range(len(entry.values)), key=lambda n: -entry.rows[n])[:SHOWN_LEVELS]
    shown = sorted(common, reverse=True)
    positions = list(range(len(shown)))
    names = [label(entry.values[n], 16) for n in shown]
    figure = _figure(
        score,
        {"tickvals": positions, "ticktext": names, "showgrid": False},
        190,
        showlegend=False,
        bargap=0.35,
    )
    return figure.add_bar(
        x=[entry.mean_score[n] for n in shown],
        y=positions,
        orientation="h",
        marker={"color": ACCENT},
        customdata=[entry.rows[n] for n in shown],
        hovertext=[label(entry.values[n], 200) for n in shown],
        hovertemplate=f"%{{hovertext}}: %{{x:{hover}}}<br>%{{customdata:,}} rows<extra></extra>",
    )


def over_time(report: Report) -> go.Figure:
    """Return recall at the budget and AP by snapshot."""
    figure = _figure({"type": "date"}, {"rangemode": "tozero", "tickformat": ".0%"}, height=260, hovermode="x unified")
    dates = [entry.snapshot for entry in report.over_time]
    recall = [entry.recall_at_k for entry in report.over_time]
    precision = [entry.ap for entry in report.over_time]
    lines = (("Recall@k", recall, ACCENT, "solid"), ("Average precision", precision, INK, "dot"))
    for name, values, color, dash in lines:
        line = {"color": color, "width": 2, "dash": dash}
        figure.add_scatter(x=dates, y=values, name=name, mode="lines+markers", line=line, hovertemplate="%{y:.1%}")
    return figure


def label_density(report: Report) -> go.Figure:
    """Return training rows and training weight by label."""
    x = [entry.label for entry in report.label_bins]
    figure = _figure(
        {"title": label(report.head.label)},
        {"title": "training rows", "type": "log"},
        yaxis2={
            "title": {"text": "weight", "font": {"color": MUTED, "size": 12}, "standoff": 8},
            "overlaying": "y",
            "side": "right",
            "showgrid": False,
            "automargin": True,
            "fixedrange": True,
            "rangemode": "tozero",
            "tickmode": "auto",
            "nticks": 5,
            "tickformat": ".2~g",
        },
        hovermode="x unified",
    )
    rows = [entry.rows for entry in report.label_bins]
    weights = [entry.weight for entry in report.label_bins]
    figure.add_bar(x=x, y=rows, name="training rows", marker={"color": FAINT})
    line = {"color": ACCENT, "width": 2}
    return figure.add_scatter(x=x, y=weights, name="weight", mode="lines", line=line, yaxis="y2")


def label_error(report: Report) -> go.Figure:
    """Return the student's mean absolute error by label."""
    figure = _figure({"title": label(report.head.label)}, {"title": "mean absolute error", "rangemode": "tozero"})
    return figure.add_scatter(
        x=[entry.label for entry in report.label_bins],
        y=[entry.error for entry in report.label_bins],
        mode="lines+markers",
        line={"color": ACCENT, "width": 2},
        customdata=[entry.rows for entry in report.label_bins],
        hovertemplate="label %{x}: error %{y:.3s}<br>%{customdata:,} training rows<extra></extra>",
    )


def training_by_model(report: Report) -> list[tuple[str, list[TrainingCurve]]]:
    """Return the training curves grouped by model, in the order they came."""
    names = dict.fromkeys(curve.model for curve in report.training_curves)
    return [(name, [curve for curve in report.training_curves if curve.model == name]) for name in names]


def training(curves: Sequence[TrainingCurve]) -> go.Figure:
    """Return the curves of one model: a line a fold, validation solid, and training dotted where it is known."""
    figure = _figure({"title": "iteration", "nticks": 5}, {"nticks": 4}, height=210, showlegend=False)
    for curve in curves:
        step = max(1, len(curve.iteration) // CURVE_POINTS)
        lines = (("train", curve.train, MUTED, "dot"), ("validation", curve.valid, ACCENT, "solid"))
        for name, values, color, dash in (line for line in lines if line[1]):
            figure.add_scatter(
                x=curve.iteration[::step],
                y=values[::step],
                mode="lines",
                line={"color": color, "width": 1.2, "dash": dash},
                hovertemplate=f"fold {curve.fold}, {name}, iteration %{{x}}: %{{y:.4s}}<extra></extra>",
            )
    return figure
