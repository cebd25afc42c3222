"""The table of ``meta_learning.py``: every arm as it was best on the validation segments, judged on the test segments.

    python benchmarks/meta_learning_table.py RUN/cache/new --into docs/measurements/2026-11-25-segments.md

Rate, layers and number of steps of each arm are those with the largest AP on the validation segments at that K. The
last table compares with ``pooled + fine-tuned``: the best of pooled and balanced net after no or some plain steps.
``default``: the arm of ``PRODUCT`` that ranked best there; families that were not run are left out.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from pages import insert

Arms = dict[str, dict[str, dict[str, list[float]]]]
"""By arm, K and metric: one value a segment."""
PRODUCT = ("distilled@0", "fine_tuned distilled wide 0.02@10", "bayes distilled", "trees distilled")
"""Arms that ``adapt fit`` has with the benchmark's configuration, but for the meta-learned start."""
FAMILIES: dict[str, Callable[[str], bool]] = {
    "from scratch": lambda arm: arm.startswith("scratch"),
    "trees on the support": lambda arm: arm == "trees on support",
    "trees pooled": lambda arm: arm == "trees pooled",
    "pooled, as it is": lambda arm: arm == "pooled@0",
    "pooled, head only": lambda arm: arm.startswith("fine_tuned pooled head"),
    "pooled + fine-tuned": lambda arm: (
        arm.startswith(("fine_tuned pooled", "fine_tuned balanced")) or arm in ("pooled@0", "balanced@0")
    ),
    "MAML": lambda arm: arm.startswith("maml@"),
    "FOMAML": lambda arm: arm.startswith("fomaml@"),
    "ANIL": lambda arm: arm.startswith("anil@"),
    "Reptile": lambda arm: arm.startswith("reptile@"),
    "Bayesian head": lambda arm: arm == "bayes pooled",
    "distilled, as it is": lambda arm: arm == "distilled@0",
    "distilled + fine-tuned": lambda arm: arm.startswith("fine_tuned distilled"),
    "distilled + Bayesian head": lambda arm: arm == "bayes distilled",
    "trees + Bayesian head": lambda arm: arm == "trees distilled",
    "default": lambda arm: arm in PRODUCT,
}
PEER = "pooled + fine-tuned"
METRICS = {"ap": "AP", "ndcg": "NDCG in the best 7.5 %", "recall": "recall in the best 7.5 %"}
RESAMPLES = 10_000


def main() -> None:
    """Put the tables between the marks of the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--into", type=Path, required=True)
    given = parser.parse_args()
    tuned, final = (json.loads((given.cache / name).read_text()) for name in ("validation.json", "final.json"))
    families = [name for name in FAMILIES if any(map(FAMILIES[name], tuned["arms"]))]
    tables = [f"{final['segments']} test segments, {final['draws']} draws of the support each."]
    tables += [_table(tuned["arms"], final["arms"], metric, title, families) for metric, title in METRICS.items()]
    insert("\n\n".join([*tables, _against(tuned["arms"], final["arms"], families)]), "meta-learning", given.into)


def _chosen(tuned: Arms, final: Arms, family: str, k: str, metric: str) -> np.ndarray[Any, Any]:
    """Return the test segments' values of the family's arm with the largest AP on the validation segments."""
    arms = [arm for arm in tuned if FAMILIES[family](arm)]
    best = max(arms, key=lambda arm: float(np.mean(tuned[arm][k]["ap"])))
    return np.array(final[best][k][metric])


def _table(tuned: Arms, final: Arms, metric: str, title: str, families: list[str]) -> str:
    ks = list(next(iter(final.values())))
    lines = [f"| {title} | " + " | ".join(f"K = {k}" for k in ks) + " |", "|---" * (len(ks) + 1) + "|"]
    for family in families:
        cells = [_cell(_chosen(tuned, final, family, k, metric)) for k in ks]
        lines.append(f"| {family} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(values: np.ndarray[Any, Any]) -> str:
    low, high = _interval(values)
    return f"{values.mean():.3f} ({low:.3f} - {high:.3f})"


def _against(tuned: Arms, final: Arms, families: list[str]) -> str:
    """Relative difference of mean AP to the peer, with a paired bootstrap interval over segments."""
    ks = list(next(iter(final.values())))
    lines = [f"| AP over {PEER} | " + " | ".join(f"K = {k}" for k in ks) + " |", "|---" * (len(ks) + 1) + "|"]
    for family in families:
        if family == PEER:
            continue
        cells = []
        for k in ks:
            mine, peer = (_chosen(tuned, final, one, k, "ap") for one in (family, PEER))
            rows = np.random.default_rng(0).integers(0, len(mine), (RESAMPLES, len(mine)))
            low, high = np.quantile(mine[rows].mean(1) / peer[rows].mean(1) - 1, [0.025, 0.975])
            cells.append(f"{mine.mean() / peer.mean() - 1:+.1%} ({low:+.1%} to {high:+.1%})")
        lines.append(f"| {family} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _interval(values: np.ndarray[Any, Any]) -> tuple[float, float]:
    means = np.random.default_rng(0).choice(values, (RESAMPLES, len(values))).mean(1)
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


if __name__ == "__main__":
    main()
