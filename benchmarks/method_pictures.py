"""Draw the pictures of docs/method.md from the tables and the report that a finished run left.

python benchmarks/method_pictures.py run/complete_journey docs
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import deltalake
import numpy as np
import numpy.typing as npt
import pandas as pd

INK, MUTED, ACCENT, RULE = "#1b1f24", "#5b6470", "#0b5cad", "#d0d4da"
WIDTH, LEFT = 640, 130
NOT_MODELS = {"owner_id", "snapshot_date", "part", "label", "weight", "fold", "row_hash"}


def main(run: Path, target: Path) -> None:
    """Write the SVG files."""
    report = json.loads((run / "model" / "report.json").read_text(encoding="utf-8"))
    predictions = deltalake.DeltaTable(str(run / "evaluation_oof_predictions")).to_pandas()
    (target / "method_flow.svg").write_text(flow(), encoding="utf-8")
    (target / "method_relative.svg").write_text(relative(predictions), encoding="utf-8")
    (target / "method_gains.svg").write_text(gains(report), encoding="utf-8")


def flow() -> str:
    """Return the chain as boxes: what every row passes, and below it what is left for scoring."""
    steps = [
        "owner\nfeatures",
        "base models,\nin folds",
        "relative\nfeatures",
        "fuser:\nexperts, gate",
        "teacher\nscore",
    ]
    size, gap, parts = 108, 18, []
    for i, step in enumerate(steps):
        left = 10 + i * (size + gap)
        parts.append(f'<rect x="{left}" y="20" width="{size}" height="44" rx="5" fill="white" stroke="{MUTED}"/>')
        parts += [_text(left + size / 2, 38 + 15 * n, line, anchor="middle") for n, line in enumerate(step.split("\n"))]
        if i:
            parts.append(_line([(left - gap, 42), (left - 2, 42)], MUTED))
    parts.append(
        f'<rect x="262" y="110" width="{size}" height="44" rx="5" fill="{ACCENT}"/>'
        f"{_text(316, 137, 'student', 'white', 'middle')}"
    )
    parts.append(_line([(64, 64), (64, 132), (260, 132)], ACCENT))
    parts.append(_line([(568, 64), (568, 132), (372, 132)], MUTED, "4"))
    parts.append(_text(74, 126, "scores raw features alone", ACCENT))
    parts.append(_text(380, 126, "learns the teacher's log-odds", MUTED))
    return _svg(parts, 170)


def relative(predictions: pd.DataFrame) -> str:
    """Return two rows of buyers: one about which the models agree, one about which they do not."""
    models = [name for name in predictions.columns if name not in NOT_MODELS]
    bought = predictions[(predictions["part"] == "test") & (predictions["label"] == 1)].reset_index(drop=True)
    logits = np.log(bought[models] / (1 - bought[models])).to_numpy()
    spread = logits.std(axis=1)
    middling = np.abs(logits.mean(axis=1) - np.log(0.05 / 0.95)) < 1  # neither at the top nor lost
    chosen = [int(np.where(middling, spread, np.inf).argmin()), int(np.where(middling, spread, -np.inf).argmax())]
    low, high = float(logits[chosen].min()) - 0.3, float(logits[chosen].max()) + 0.3
    parts: list[str] = []
    for panel, (row, title) in enumerate(zip(chosen, ("the models agree", "they do not"), strict=True)):
        parts += _panel(logits[row], models, (low, high), 34 + panel * 168, title)
    return _svg(parts, 40 + 2 * 168)


def _panel(logits: npt.NDArray[Any], models: list[str], ends: tuple[float, float], top: int, title: str) -> list[str]:
    def x(value: float) -> float:
        return LEFT + (value - ends[0]) / (ends[1] - ends[0]) * (WIDTH - LEFT - 170)

    mean, deviation = float(logits.mean()), float(logits.std())
    parts = [_text(10, top - 12, f"A buyer about whom {title}", INK)]
    parts.append(_line([(x(mean), top), (x(mean), top + 5 * 22)], MUTED, "4"))
    parts.append(_text(x(mean), top + 5 * 22 + 14, f"mean {_percent(mean)}", MUTED, "middle"))
    ranks = (-logits).argsort(kind="stable").argsort(kind="stable") + 1
    for i, (name, logit) in enumerate(zip(models, logits, strict=True)):
        y = top + 12 + i * 22
        z = (logit - mean) / (deviation + 1e-6)
        parts.append(_text(LEFT - 12, y + 4, name, INK, "end"))
        parts.append(_line([(x(mean), y), (x(float(logit)), y)], ACCENT))
        parts.append(f'<circle cx="{x(float(logit)):.1f}" cy="{y}" r="4.5" fill="{ACCENT}"/>')
        parts.append(_text(WIDTH - 150, y + 4, f"{_percent(float(logit))}, z {z:+.1f}, rank {ranks[i]}", INK))
    return parts


def _percent(logit: float) -> str:
    return f"{100 / (1 + np.exp(-logit)):.1f} %"


def gains(report: dict[str, Any]) -> str:
    """Return the share of the buyers reached by the share contacted: student, each base model, random."""
    side, left, top = 300, 60, 20

    def at(share: float, recall: float) -> tuple[float, float]:
        return left + share * side * 1.6, top + (1 - recall) * side

    base = {one["name"] for one in report["models"] if one["kind"] == "base"}
    parts = [f'<rect x="{left}" y="{top}" width="{side * 1.6}" height="{side}" fill="none" stroke="{RULE}"/>']
    parts.append(_line([at(0, 0), at(1, 1)], MUTED, "4"))
    for curve in sorted(report["gains"], key=lambda one: one["model"] == "student"):
        points = [at(0, 0), *(at(s, r) for s, r in zip(curve["share"], curve["recall"], strict=True))]
        if curve["model"] in base:
            parts.append(_line(points, RULE))
        elif curve["model"] == "student":
            parts.append(_line(points, ACCENT))
    budget = report["head"]["budget"]
    student = next(one for one in report["gains"] if one["model"] == "student")
    reached = float(np.interp(budget, student["share"], student["recall"]))
    parts.append(_line([at(budget, 0), at(budget, reached)], ACCENT, "4"))
    x, y = at(budget, reached)
    parts.append(_text(x + 10, y + 14, f"best {100 * budget:g} %: {100 * reached:.0f} % of the buyers", ACCENT))
    parts.append(_text(*at(0.66, 0.55), "contact at random", MUTED))
    parts.append(_text(*at(0.25, 0.72), "grey: single models", MUTED))
    parts += [_text(at(s, 0)[0], top + side + 18, f"{100 * s:.0f} %", MUTED, "middle") for s in (0, 0.25, 0.5, 0.75, 1)]
    parts += [_text(left - 6, at(0, r)[1] + 4, f"{100 * r:.0f} %", MUTED, "end") for r in (0.5, 1)]
    parts.append(_text(left + side * 0.8, top + side + 36, "share of owners contacted", MUTED, "middle"))
    return _svg(parts, top + side + 46)


def _svg(parts: list[str], height: float) -> str:
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif" '
        f'font-size="12"><rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n'
    )


def _text(x: float, y: float, text: str, colour: str = INK, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}">{text}</text>'


def _line(points: list[tuple[float, float]], colour: str, dash: str = "0") -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"/>'


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
