"""Why a row got its score: contributions of the features that sum to its score less the score of the usual owner.

The usual owner has the training rows' medians and most frequent levels. LightGBM and CatBoost give exact Shapley values
against that owner (:mod:`remedi_spark.models.reference`), nets integrated gradients (Sundararajan et al., arXiv
1703.01365), XGBoost its own TreeSHAP, whose reference is the mean training row. Contributions to the margin are scaled
to the change of the score; where the fold explained differs from the mean of all, the rest is spread by their size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from remedi_spark.models.contract import Array
from remedi_spark.models.reference import Reference
from remedi_spark.scoring.usual import usual_owner

if TYPE_CHECKING:
    from remedi_spark.scoring.bundle import Bundle


EXPLAINED = 0
"""Fold models of an ensemble differ by a share of their rows alone. Contributions are those of one of them, completed
to the score of all: explaining a row by all of them would cost as many times more as there are folds."""


class Reason(NamedTuple):
    """One feature of one row: its name, its value as text (None for null), its contribution in probability, and value
    and usual value in a sentence.
    """

    feature: str
    value: str | None
    contribution: float
    text: str


class Explainer:
    """Explains the rows of a bundle by the models of one fold.

    Args:
        bundle: what is explained.
        which: of the models of each part of the student, the one that explains.
    """

    def __init__(self, bundle: Bundle, which: int = EXPLAINED) -> None:
        self._bundle, self._fold = bundle, bundle.left_out[which]
        self._models = [models[which] for models in bundle.predictors.values()]
        owner = usual_owner(bundle.encoder, bundle.parts.distribution)
        x = bundle.encoder.transform(owner, leave_out=self._fold)
        self._reference = Reference.of(x[0], bundle.encoder.layout)
        # The usual owner's margin is that of all folds, like every other row's.
        self._other_folds = float(bundle.margin(owner)[0] - np.mean([model(x)[0] for model in self._models]))

    def reasons(self, canonical: pd.DataFrame, top: int, scores: Array | None = None) -> list[list[Reason]]:
        """Return the ``top`` features of each row by absolute contribution; ``scores`` are the rows', if known."""
        contributions = self.contributions(canonical, scores)
        strongest = np.argsort(-np.abs(contributions), axis=1, kind="stable")[:, :top]
        sizes = np.take_along_axis(contributions, strongest, axis=1).tolist()
        contract, sentence = self._bundle.contract, self._bundle.wording.sentence
        names, columns = contract.names, contract.columns
        values = {j: canonical[columns[j]].tolist() for j in np.unique(strongest)}

        def reason(i: int, j: int, size: float) -> Reason:
            value = values[j][i]
            return Reason(names[j], _text(value), size, sentence(j, value))

        return [
            [reason(i, j, size) for j, size in zip(*row, strict=True)]
            for i, row in enumerate(zip(strongest.tolist(), sizes, strict=True))
        ]

    def contributions(self, canonical: pd.DataFrame, scores: Array | None = None) -> Array:
        """Return contributions in probability, shape (rows, features); a row's sum is score - reference score."""
        if scores is None:
            scores = self._bundle.score(canonical)
        calibrated = self._bundle.calibrator
        x = self._bundle.encoder.transform(canonical, leave_out=self._fold)
        margins, base = self._margins(x)
        usual = np.asarray(calibrated(base))
        total = margins.sum(axis=1)
        change = np.asarray(calibrated(base + total)) - usual
        # A row whose margin equals the reference's has nothing to explain.
        scale: Array = np.divide(change, total, out=np.zeros_like(total), where=np.abs(total) > 1e-12)
        size = np.abs(margins)
        # Where this fold tells no feature apart, the others may: then all that differ share alike.
        silent = ~size.any(axis=1)
        size[silent] = self._reference.differs(x[silent])[:, : self._reference.features]
        return _completed(margins * scale[:, None], size, scores - usual)

    def _margins(self, x: Array) -> tuple[Array, Array]:
        """Return contributions to the margin, shape (rows, features), and what they are added to, shape (rows,)."""
        parts, starts = zip(*(model.contributions(x, self._reference) for model in self._models), strict=True)
        margins = self._reference.by_feature(x, sum(parts) / len(parts))
        return margins, sum(starts) / len(starts) + self._other_folds


def _completed(contributions: Array, size: Array, change: Array) -> Array:
    """Spread what is missing to ``change``, shape (rows,), in proportion to ``size``, shape (rows, features)."""
    missing = change - contributions.sum(axis=1)
    completed: Array = contributions + size * (missing / np.maximum(size.sum(axis=1), 1e-12))[:, None]
    return completed


def _text(value: Any) -> str | None:
    if pd.isna(value):
        return None
    return value if isinstance(value, str) else f"{value:.6g}"
