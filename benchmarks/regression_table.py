"""The table of benchmarks/regression.py: each variant against vanilla on the linear scale, over seeds."""

from __future__ import annotations

import numpy as np
import pandas as pd
from regression_sets import NAMES
from scipy import stats

COLUMNS = (("all", "mae"), ("all", "rmse"), ("all", "gmae"), ("few", "mae"), ("few", "gmae"))


def table(results: pd.DataFrame) -> str:
    """Return the Markdown table of a frame with one row a set, model, variant and seed."""
    titles = [f"{shot}: {metric.upper()}" for shot, metric in COLUMNS]
    lines = [f"| set | model | scale | variant | seeds | {' | '.join(titles)} | value@7.5 % |", "|---" * 11 + "|"]
    by_place = results.assign(place=results["set"].map(NAMES.index)).sort_values(["place", "model"], kind="stable")
    for (name, model), group in by_place.groupby(["set", "model"], sort=False):
        base = group[(group["scale"] == "linear") & (group["variant"] == "vanilla")].set_index("seed")
        for (scale, variant), found in group.groupby(["scale", "variant"], sort=False):
            paired = found.set_index("seed")
            seeds = paired.index.intersection(base.index)
            if seeds.empty:
                continue
            cells = [_change(paired.loc[seeds, s], base.loc[seeds, s], m) for s, m in COLUMNS]
            if (scale, variant) == ("linear", "vanilla"):
                cells = [f"{np.mean([row[m] for row in base[s]]):.4g}" for s, m in COLUMNS]
            value = f"{100 * paired['value_at_k'].mean():.1f} %"
            lines.append(f"| {name} | {model} | {scale} | {variant} | {len(seeds)} | {' | '.join(cells)} | {value} |")
    return "\n".join(lines)


def _change(found: pd.Series, base: pd.Series, metric: str) -> str:
    """Mean relative change with its 95 % interval over seeds."""
    change = np.array([a[metric] / b[metric] - 1 for a, b in zip(found, base, strict=True)])
    if len(change) < 2:
        return f"{100 * change.mean():+.1f} %"
    half = stats.t.ppf(0.975, len(change) - 1) * change.std(ddof=1) / np.sqrt(len(change))
    return f"{100 * change.mean():+.1f} ± {100 * half:.1f} %"
