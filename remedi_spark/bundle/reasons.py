"""Why a row got its score: contributions of the features that sum to its margin less the reference row's.

Nets by integrated gradients (Sundararajan et al., arXiv 1703.01365) on the path, in embedding space, from the reference
row (medians and most frequent levels of the training rows) to the row, by Gauss-Legendre quadrature; trees by TreeSHAP
(LightGBM and XGBoost's own), whose reference is the mean training row. What quadrature leaves over, and what the fold
explained differs from the mean of all, is spread in proportion, so that contributions add up exactly. In probability
points they are scaled to score - reference score.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from remedi_spark.learners.contract import Array

if TYPE_CHECKING:
    from remedi_spark.bundle.bundle import Bundle


EXPLAINED_FOLD = 0
"""A student's fold models differ by a share of their rows alone. Contributions are those of one of them, completed to
the margin of all: explaining a row by all of them would cost as many times more as there are folds."""


class Reason(NamedTuple):
    """One feature of one row: its name, its value as text (None for null), its contribution in probability, and value
    and usual value in a sentence.
    """

    feature: str
    value: str | None
    contribution: float
    text: str


def explain_rows(bundle: Bundle, canonical: pd.DataFrame, top: int) -> list[list[Reason]]:
    """Return the ``top`` features of each row by absolute contribution."""
    contributions = probability_contributions(bundle, canonical)
    strongest = np.argsort(-np.abs(contributions), axis=1, kind="stable")[:, :top]
    names, columns, say = bundle.contract.names, bundle.contract.columns, bundle.wording.say
    values = {j: canonical[columns[j]].tolist() for j in np.unique(strongest)}

    def reason(i: int, j: int) -> Reason:
        value = values[j][i]
        return Reason(names[j], _text(value), float(contributions[i, j]), say(j, value))

    return [[reason(i, j) for j in strongest[i]] for i in range(len(canonical))]


def probability_contributions(bundle: Bundle, canonical: pd.DataFrame) -> Array:
    """Return contributions in probability, shape (rows, features); a row's sum is score - reference score."""
    margins, reference = margin_contributions(bundle, canonical)
    total = margins.sum(axis=1)
    scores = np.asarray(bundle.calibrator(reference + total))
    change = scores - np.asarray(bundle.calibrator(reference))
    # A row whose margin equals the reference's has nothing to explain.
    scale: Array = np.divide(change, total, out=np.zeros_like(total), where=np.abs(total) > 1e-12)
    return margins * scale[:, None]


def margin_contributions(bundle: Bundle, canonical: pd.DataFrame) -> tuple[Array, Array]:
    """Return contributions to the margin, shape (rows, features), and each row's reference margin, shape (rows,)."""
    encoder = bundle.encoder
    features = np.array([slot.feature for slot in encoder.layout.slots])
    contributions = np.zeros((len(canonical), len(encoder.contract.features)))
    reference = np.zeros(len(canonical))
    x = encoder.transform(canonical, leave_out=EXPLAINED_FOLD)
    for models in bundle.predictors.values():
        by_slot, start = models[EXPLAINED_FOLD].contributions(x)
        np.add.at(contributions.T, features, by_slot.T / len(bundle.predictors))
        reference += start / len(bundle.predictors)
    return _completed(contributions, bundle.margin(canonical) - reference), reference


def _completed(contributions: Array, change: Array) -> Array:
    """Spread what is missing to ``change``, shape (rows,), in proportion to the size of the contributions."""
    size = np.abs(contributions)
    total = size.sum(axis=1)
    missing = (change - contributions.sum(axis=1)) / np.maximum(total, 1e-12)
    completed: Array = contributions + size * missing[:, None]
    return completed


def _text(value: Any) -> str | None:
    if pd.isna(value):
        return None
    return value if isinstance(value, str) else f"{value:.6g}"
