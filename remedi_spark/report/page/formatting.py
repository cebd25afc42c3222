"""Numbers as text: three significant digits, an en dash where there is no number."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

MISSING = "–"
THIN = "\u202f"
"""Narrow no-break space, before a per cent sign and inside intervals."""


@dataclass(frozen=True)
class Metric:
    """How a metric is named, formatted and compared."""

    title: str
    style: Literal["percent", "number"]
    best: Literal["high", "low"]
    meaning: str


METRICS = {
    "recall_at_k": Metric("Recall@k", "percent", "high", "share of all buyers who are on the contact list"),
    "precision_at_k": Metric("Precision@k", "percent", "high", "share of the contact list who buy"),
    "lift_at_k": Metric("Lift@k", "number", "high", "precision divided by the share of buyers among all rows"),
    "ap": Metric("AP", "number", "high", "average precision, the area under the precision-recall curve"),
    "auc": Metric("AUC", "number", "high", "chance that a buyer is ranked above a non-buyer"),
    "ndcg_at_k": Metric("NDCG@k", "number", "high", "how near the top of the contact list its buyers stand"),
    "ks": Metric("KS", "number", "high", "largest gap between the score distributions of buyers and non-buyers"),
    "brier": Metric("Brier", "number", "low", "mean squared error of the probability"),
    "ece": Metric("ECE", "number", "low", "mean gap between predicted and observed rate, over bins of equal size"),
    "value_at_k": Metric("Value@k", "percent", "high", "share of the whole value that the contact list holds"),
    "mae": Metric("MAE", "number", "low", "mean absolute error"),
    "rmse": Metric("RMSE", "number", "low", "root of the mean squared error"),
    "gmae": Metric("GM", "number", "low", "geometric mean of the absolute errors"),
    "few_mae": Metric(
        "Few-shot MAE", "number", "low", "mean absolute error where few training rows had a label like it"
    ),
    "sera": Metric(
        "SERA", "number", "low", "squared errors, summed, each by how extreme the label is: nothing at the median"
    ),
    "spearman": Metric("Spearman", "number", "high", "rank correlation of prediction and truth"),
}


def metric(name: str) -> Metric:
    """Return how to show ``name``; an unknown metric is a plain number under its own name."""
    return METRICS.get(name, Metric(name, "number", "high", ""))


def number(value: float | None, digits: int = 3) -> str:
    """Return ``value`` to ``digits`` significant digits, without an exponent from 1e-4 up to a million."""
    if value is None or not math.isfinite(value):
        return MISSING
    if value == 0:
        return "0"
    magnitude = math.floor(math.log10(abs(float(f"{value:.{digits - 1}e}"))))
    if magnitude < -4 or magnitude >= 6:
        return f"{value:.{digits - 1}e}".replace("-", "−")
    rounded = round(value, digits - 1 - magnitude)
    return f"{rounded:,.{max(0, digits - 1 - magnitude)}f}".replace("-", "−")


def percent(value: float | None, digits: int = 3) -> str:
    """Return the share ``value`` in per cent: ``percent(0.0746) == "7.46 %"``."""
    if value is None or not math.isfinite(value):
        return MISSING
    return f"{number(100 * value, digits)}{THIN}%"


def budget(value: float) -> str:
    """Return a contact budget in per cent without trailing zeros: ``budget(0.075) == "7.5 %"``."""
    return f"{100 * value:.4g}{THIN}%"


def count(value: int | None) -> str:
    """Return a whole number with separators."""
    return MISSING if value is None else f"{value:,}"


def duration(seconds: float | None) -> str:
    """Return seconds as ``0.42 s``, ``42 s``, ``3.2 min`` or ``2.1 h``."""
    if seconds is None:
        return MISSING
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f}{THIN}{unit}"
    return f"{number(seconds, 2)}{THIN}s"


def moment(text: str) -> str:
    """Return an ISO 8601 time to the minute; any other text as it is."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return text
    zone = at.strftime("%Z").removesuffix("+00:00")
    return f"{at:%Y-%m-%d %H:%M} {zone}".strip()


def heading(text: str) -> str:
    """Return ``text`` with its first letter in upper case, the rest as it is."""
    return text[:1].upper() + text[1:]


def measure(name: str, value: float | None, digits: int = 3) -> str:
    """Return the value of the metric ``name`` in that metric's own form."""
    return percent(value, digits) if metric(name).style == "percent" else number(value, digits)


def interval(name: str, bounds: tuple[float | None, float | None] | None, digits: int = 3) -> str:
    """Return ``low – high`` in the form of the metric ``name``, or an empty string when there is none."""
    if bounds is None or bounds[0] is None or bounds[1] is None:
        return ""
    low, high = (measure(name, bound, digits).removesuffix(f"{THIN}%") for bound in bounds)
    return f"{low}{THIN}–{THIN}{high}"
