"""Curves over nights as inline SVG: no script, sharp on paper, small."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date

from markupsafe import Markup, escape

WIDTH, HEIGHT = 720.0, 240.0
LEFT, RIGHT, TOP, BOTTOM = 92.0, 12.0, 14.0, 32.0
Values = Sequence[float | None]


@dataclass(frozen=True)
class Layer:
    """One series: ``band`` between two, a ``line``, ``dots``, or ``bars`` from zero."""

    kind: str
    values: Values
    style: str
    upper: Values = ()
    """Of a band."""


@dataclass(frozen=True)
class Chart:
    """A figure over nights.

    Attributes:
        title: what it shows.
        names: of the nights, as days or any text, in order.
        layers: drawn one over the other.
        text: how a value is written.
        marks: nights at which a new model begins.
    """

    title: str
    names: Sequence[str]
    layers: Sequence[Layer]
    text: Callable[[float], str]
    marks: Sequence[int] = field(default_factory=tuple)


def draw(chart: Chart) -> Markup:
    """Return a figure as an ``svg`` element; all text is escaped."""
    known = [v for layer in chart.layers for v in (*layer.values, *layer.upper) if v is not None]
    top = _nice(max(known, default=1.0) or 1.0)
    xs = _places(chart.names)

    def y(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / top)

    parts = [_grid(chart, xs, top, y)]
    parts += [
        f'<line class="mark" x1="{xs[i]:.1f}" x2="{xs[i]:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>' for i in chart.marks
    ]
    parts += [_layer(layer, xs, y) for layer in chart.layers]
    size = f'viewBox="0 0 {WIDTH:g} {HEIGHT:g}"'
    label = f'role="img" aria-label="{escape(chart.title)}"'
    return Markup(f"<svg {size} {label}>{''.join(parts)}</svg>")


def _layer(layer: Layer, xs: Sequence[float], y: Callable[[float], float]) -> str:
    if layer.kind == "band":
        return "".join(_area(run, layer, xs, y) for run in _runs(layer.values))
    if layer.kind == "line":
        lines = (" ".join(f"{xs[i]:.1f},{y(layer.values[i] or 0):.1f}" for i in run) for run in _runs(layer.values))
        return "".join(f'<polyline class="{layer.style}" points="{points}"/>' for points in lines)
    found = [(x, v) for x, v in zip(xs, layer.values, strict=True) if v is not None]
    if layer.kind == "dots":
        return "".join(f'<circle class="{layer.style}" cx="{x:.1f}" cy="{y(v):.1f}" r="3"/>' for x, v in found)
    wide = min(24.0, max(1.0, 0.6 * (WIDTH - LEFT - RIGHT) / max(1, len(xs))))
    size = f'class="{layer.style}" width="{wide:.1f}"'
    return "".join(f'<rect {size} x="{x - wide / 2:.1f}" y="{y(v):.1f}" height="{y(0) - y(v):.1f}"/>' for x, v in found)


def _area(run: Sequence[int], layer: Layer, xs: Sequence[float], y: Callable[[float], float]) -> str:
    if len(run) == 1:  # a single night has no width
        x, low, high = xs[run[0]], layer.values[run[0]] or 0, layer.upper[run[0]] or 0
        return f'<line class="{layer.style} single" x1="{x:.1f}" x2="{x:.1f}" y1="{y(low):.1f}" y2="{y(high):.1f}"/>'
    under = [f"{xs[i]:.1f},{y(layer.values[i] or 0):.1f}" for i in run]
    over = [f"{xs[i]:.1f},{y(layer.upper[i] or 0):.1f}" for i in reversed(run)]
    return f'<polygon class="{layer.style}" points="{" ".join([*under, *over])}"/>'


def _runs(values: Values) -> list[list[int]]:
    """Return the stretches of nights that have a value."""
    runs: list[list[int]] = []
    for i, value in enumerate(values):
        if value is None:
            continue
        if runs and runs[-1][-1] == i - 1:
            runs[-1].append(i)
        else:
            runs.append([i])
    return runs


def _grid(chart: Chart, xs: Sequence[float], top: float, y: Callable[[float], float]) -> str:
    parts = []
    for value in (0.0, top / 2, top):
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>')
        parts.append(
            f'<text x="{LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{escape(chart.text(value))}</text>'
        )
    shown = sorted({0, len(xs) // 2, len(xs) - 1}) if len(xs) > 4 else range(len(xs))
    for place, i in enumerate(shown):
        anchor = "start" if place == 0 and len(xs) > 1 else "end" if i == len(xs) - 1 and len(xs) > 1 else "middle"
        parts.append(f'<text x="{xs[i]:.1f}" y="{HEIGHT - 8}" text-anchor="{anchor}">{escape(chart.names[i])}</text>')
    return "".join(parts)


def _places(names: Sequence[str]) -> list[float]:
    """Return where nights are: by their day where all names are days, else side by side."""
    try:
        days = [float(date.fromisoformat(name[:10]).toordinal()) for name in names]
    except ValueError:
        days = [float(i) for i in range(len(names))]
    if len(set(days)) < 2:
        step = (WIDTH - LEFT - RIGHT) / (len(days) + 1)
        return [LEFT + step * (i + 1) for i in range(len(days))]
    inside = 10.0
    scale = (WIDTH - LEFT - RIGHT - 2 * inside) / (days[-1] - days[0])
    return [LEFT + inside + scale * (day - days[0]) for day in days]


def _nice(value: float) -> float:
    """Return the next of 1, 2, 2.5, 4, 5, 8, 10 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 2.5, 4, 5, 8, 10) if step * power >= value * 0.999)
