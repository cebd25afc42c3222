"""The tables of benchmarks/regression.py: each variant against no weights on one scale, over seeds and over sets."""

from __future__ import annotations

import numpy as np
import pandas as pd
from regression_sets import NAMES
from scipy import stats

COLUMNS = (("all", "mae"), ("all", "rmse"), ("all", "gmae"), ("many", "mae"), ("medium", "mae"), ("few", "mae"))
GOAL = (("all", "mae"), ("few", "mae"))
CHOICES = (("asinh", "auto"), ("asinh", "blend"), ("asinh", "apart"), ("asinh", "inverse"), ("asinh", "smeared"))


def table(results: pd.DataFrame, against: str) -> str:
    """Return the Markdown table of a frame with one row a set, model, variant and seed."""
    titles = [*(f"{shot}: {metric.upper()}" for shot, metric in COLUMNS), "SERA", "value@7.5 %"]
    head = ["set", "model", "scale", "variant", "seeds", *titles]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    by_place = results.assign(place=results["set"].map(NAMES.index)).sort_values(["place", "model"], kind="stable")
    for (name, model), group in by_place.groupby(["set", "model"], sort=False):
        base = _of(group, against, "vanilla")
        for (scale, variant), found in group.groupby(["scale", "variant"], sort=False):
            paired = found.set_index("seed")
            seeds = paired.index.intersection(base.index)
            if seeds.empty:
                continue
            pairs = [
                (_values(paired.loc[seeds], *one), _values(base.loc[seeds], *one)) for one in (*COLUMNS, ("sera",))
            ]
            own = (scale, variant) == (against, "vanilla")
            cells = [f"{np.mean(b):.4g}" if own else _interval(a / b - 1) for a, b in pairs]
            value = f"{100 * paired['value_at_k'].mean():.1f} %"
            lines.append(f"| {name} | {model} | {scale} | {variant} | {len(seeds)} | {' | '.join(cells)} | {value} |")
    return "\n".join(lines)


def goal_table(results: pd.DataFrame) -> str:
    """Return the mean change over sets, a set's being its mean over seeds, with an interval over seeds."""
    titles = [f"{shot} MAE, {of}" for shot, _ in GOAL for of in ("mean of sets", "worst set")]
    lines = [f"| model | against no weights on | variant | {' | '.join(titles)} |", "|---" * (3 + len(titles)) + "|"]
    for model, group in results.groupby("model", sort=False):
        for against in ("asinh", "linear"):
            for scale, variant in CHOICES:
                if variant not in set(group["variant"]):
                    continue
                cells = _goal_cells(group, against, scale, variant)
                lines.append(f"| {model} | {against} | {variant} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _goal_cells(group: pd.DataFrame, against: str, scale: str, variant: str) -> list[str]:
    cells = []
    for shot, metric in GOAL:
        by_set = {}
        for name, rows in group.groupby("set"):
            base, found = _of(rows, against, "vanilla"), _of(rows, scale, variant)
            if found.empty:  # apart is left out where there are no zeros: it is what lds is there
                found = _of(rows, scale, "lds")
            seeds = found.index.intersection(base.index)
            by_set[name] = _values(found.loc[seeds], shot, metric) / _values(base.loc[seeds], shot, metric) - 1
        mean = np.mean(list(by_set.values()), axis=0)  # by seed
        worst = max(by_set, key=lambda name: by_set[name].mean())
        cells += [_interval(mean), f"{100 * by_set[worst].mean():+.1f} % ({worst})"]
    return cells


def _of(results: pd.DataFrame, scale: str, variant: str) -> pd.DataFrame:
    chosen = results[(results["scale"] == scale) & (results["variant"] == variant)]
    return chosen.set_index("seed").sort_index()


def _values(rows: pd.DataFrame, column: str, metric: str | None = None) -> np.ndarray:
    return np.array([one if metric is None else one[metric] for one in rows[column]], dtype=float)


def _interval(change: np.ndarray) -> str:
    """Mean relative change with its 95 % interval over seeds."""
    if len(change) < 2:
        return f"{100 * change.mean():+.1f} %"
    half = stats.t.ppf(0.975, len(change) - 1) * change.std(ddof=1) / np.sqrt(len(change))
    return f"{100 * change.mean():+.1f} ± {100 * half:.1f} %"
