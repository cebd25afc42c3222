"""What fits have to tell beside their models: rows used, trees or epochs, and members that learned nearly nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

FEW_TREES = 3
"""Trees, at most, of a member whose early stopping found nothing to learn."""


def fit_facts(infos: Mapping[str, Sequence[dict[str, Any]]]) -> dict[str, dict[str, list[int]]]:
    """Return of each model, by fold, ``rows_used`` and ``trees`` or ``epochs``, as far as ``Fitted.info`` has them."""
    return {
        name: {
            fact: [int(info[fact]) for info in by_fold]
            for fact in ("rows_used", "trees", "epochs")
            if all(fact in info for info in by_fold)
        }
        for name, by_fold in infos.items()
    }


def weak_members(facts: dict[str, dict[str, Any]], trees_at_most: dict[str, int]) -> list[str]:
    """Return one sentence for each model whose early stopping found (nearly) nothing in some fold.

    Args:
        facts: of :func:`fit_facts`.
        trees_at_most: by model, how many trees it could have grown.
    """
    said = []
    for name, found in facts.items():
        trees = found.get("trees", [])
        few = [count for count in trees if count <= FEW_TREES < trees_at_most.get(name, 0)]
        if few:
            said.append(
                f"{name} learned next to nothing: early stopping left {min(few)} to {max(few)} trees in {len(few)} of"
                f" {len(trees)} folds; it is averaged like the others, switch it off with"
                f" base_models.models.{name}.enabled=false"
            )
    return said
