"""Draw AP against inner steps from the JSON of ``meta_learning.py``: one panel a K, one line an arm.

python benchmarks/meta_learning_plot.py RUN/cache/new/final.json docs/meta_learning.svg
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

COLOURS = {"maml": "#1f77b4", "fomaml": "#17becf", "anil": "#2ca02c", "reptile": "#9467bd"}
FLAT = {"trees distilled": "#ff7f0e", "balanced@0": "#d62728", "pooled@0": "#7f7f7f"}
"""Arms without inner steps."""
PANEL, HEIGHT, MARGIN = 190, 200, 36


def main(source: Path, target: Path) -> None:
    """Write the SVG."""
    arms = json.loads(source.read_text())["arms"]
    means = {name: {k: float(np.mean(one["ap"])) for k, one in by_k.items()} for name, by_k in arms.items()}
    shown = {n: v for n, v in means.items() if n.split("@")[0] in COLOURS or n in FLAT}
    steps = max(int(name.split("@")[1]) for name in shown if "@" in name)
    flat = {name: colour for name, colour in FLAT.items() if name in shown}
    parts = []
    for panel, k in enumerate(next(iter(shown.values()))):
        low, high = (edge([v[k] for v in shown.values()]) for edge in (min, max))
        left = panel * (PANEL + MARGIN) + MARGIN

        def place(step: float, ap: float, left: int = left, low: float = low, high: float = high) -> str:
            share = (ap - low) / max(high - low, 1e-9)
            return f"{left + step / max(steps, 1) * PANEL:.1f},{MARGIN + (1 - share) * HEIGHT:.1f}"

        parts.append(_text(left, 20, f"K = {k}: AP {low:.3f} to {high:.3f}"))
        parts.append(f'<rect x="{left}" y="{MARGIN}" width="{PANEL}" height="{HEIGHT}" fill="none" stroke="#ccc"/>')
        parts += [_text(left + step / steps * PANEL - 3, MARGIN + HEIGHT + 16, str(step)) for step in range(steps + 1)]
        for name, colour in flat.items():
            parts.append(_line([place(s, shown[name][k]) for s in (0, steps)], colour, dash="4"))
        for name, colour in COLOURS.items():
            path = [place(s, shown[f"{name}@{s}"][k]) for s in range(steps + 1) if f"{name}@{s}" in shown]
            if path:
                parts.append(_line(path, colour))
    width, height = len(next(iter(shown.values()))) * (PANEL + MARGIN) + MARGIN, HEIGHT + 2 * MARGIN + 24
    for i, (name, colour) in enumerate([*COLOURS.items(), *flat.items()]):
        parts.append(_text(MARGIN + i * 120, height - 8, f"{name.removesuffix('@0')}", colour))
    body = "\n".join(parts)
    target.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" '
        f'font-size="12"><rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n'
    )


def _text(x: float, y: float, text: str, colour: str = "#333") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}">{text}</text>'


def _line(points: list[str], colour: str, dash: str = "0") -> str:
    style = f'fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"'
    return f'<polyline points="{" ".join(points)}" {style}/>'


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
