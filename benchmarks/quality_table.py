"""From the lines of ``quality.py run`` to a Markdown table."""

from __future__ import annotations

import numpy as np
import pandas as pd

SHOWN = ("one_lightgbm", "autogluon", "mean", "stack_lr", "fuser", "student")
PAIRS = (
    ("fuser", "autogluon"), ("student", "autogluon"), ("student", "one_lightgbm"), ("fuser", "mean"),
    ("fuser", "stack_lr"), ("student", "student_labels_only"), ("student", "fuser"),
)  # fmt: skip
RESAMPLES = 10_000
TIE = 0.005
"""Relative differences of AP up to this count as neither won nor lost."""


def tables(rows: pd.DataFrame) -> str:
    """Return both tables."""
    return f"{by_set(rows)}\n\n{pairs(rows)}"


def by_set(rows: pd.DataFrame) -> str:
    """AP (and recall in the top 7.5 %) of every system, mean over seeds; seconds of whole runs."""
    systems = [name for name in SHOWN if name in set(rows["system"])]
    lines = [
        "| set | seeds | " + " | ".join(f"{name} AP (recall)" for name in systems) + " | remedi s | autogluon s |",
        "|---" * (len(systems) + 4) + "|",
    ]
    for name, part in rows.groupby("set", sort=False):
        mean = part.groupby("system")[["ap", "recall_at_k", "seconds"]].mean()
        cells = [_cell(mean, system) for system in systems]
        times = [f"{mean['seconds'].get(system, np.nan):.0f}" for system in ("student", "autogluon")]
        lines.append(f"| {name} | {part['seed'].nunique()} | " + " | ".join([*cells, *times]) + " |")
    return "\n".join(lines)


def _cell(mean: pd.DataFrame, system: str) -> str:
    if system not in mean.index:
        return ""
    return f"{mean.loc[system, 'ap']:.4f} ({mean.loc[system, 'recall_at_k']:.3f})"


def pairs(rows: pd.DataFrame) -> str:
    """Relative difference of AP between systems on the same set and seed."""
    lines = [
        "| compared | AP: mean relative difference (95 % interval over sets) | won / level / lost sets | worst set |",
        "|---|---|---|---|",
    ]
    ap = rows.pivot_table(index=["set", "seed"], columns="system", values="ap")
    for one, other in PAIRS:
        if one not in ap or other not in ap:
            continue
        by_set = np.log(ap[one] / ap[other]).dropna().groupby("set").mean()
        if by_set.empty:
            continue
        low, high = _interval(by_set.to_numpy())
        won, lost = int((by_set > TIE).sum()), int((by_set < -TIE).sum())
        lines.append(
            f"| {one} over {other} | {_percent(by_set.mean())} ({_percent(low)} to {_percent(high)}) "
            f"| {won} / {len(by_set) - won - lost} / {lost} | {by_set.idxmin()} {_percent(by_set.min())} |"
        )
    return "\n".join(lines)


def _interval(values: np.ndarray) -> tuple[float, float]:
    draws = np.random.default_rng(0).choice(values, (RESAMPLES, len(values))).mean(axis=1)
    return float(np.quantile(draws, 0.025)), float(np.quantile(draws, 0.975))


def _percent(log_ratio: float) -> str:
    return f"{np.expm1(log_ratio):+.1%}"
