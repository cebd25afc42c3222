"""Which calibrator to trust: the simplest that no other beats by more than chance, in cross-validated log-loss."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from remedi_spark.errors import InputError
from remedi_spark.maths.calibrators import (
    BetaCalibrator,
    Calibrator,
    IdentityCalibrator,
    IsotonicCalibrator,
    PlattCalibrator,
)
from remedi_spark.maths.checks import FloatArray, IntArray, at_least, binary_labels, finite_vector, row_weights

SMALLEST_PROBABILITY = 1e-15
"""Log-loss takes probabilities no nearer to 0 or 1 than this, so that one certain mistake does not make it infinite."""
FEW_POSITIVES = 200
"""Below so many positives only Platt's two parameters are fitted: a bent map would follow noise."""
MANY_POSITIVES = 1000
"""Below so many positives the isotonic map, whose steps follow single ones, is not tried: on public comparisons it
harms boosted trees on most tables (CalArena, arXiv 2605.30188)."""


def best_calibrator(
    logits: npt.ArrayLike,
    labels: npt.ArrayLike,
    groups: npt.ArrayLike | None = None,
    *,
    folds: int = 5,
    seed: int = 0,
    weights: npt.ArrayLike | None = None,
) -> Calibrator:
    """Choose between identity, Platt, beta and isotonic by cross-validated log-loss, and refit the best on all rows.

    In this order, a map is taken instead of a simpler one if its log-loss is lower by more than one standard error of
    the difference by row. With fewer than ``FEW_POSITIVES`` positives only the first two are tried, with fewer than
    ``MANY_POSITIVES`` the first three; with fewer than two groups of a class there is nothing to validate on, and it is
    the identity.

    Args:
        logits: of rows that the model did not see, finite, shape (n,).
        labels: 0 or 1, shape (n,).
        groups: owner of each row, shape (n,): an owner's rows stay in one fold. None: each row for itself.
        folds: at least 2; as many as there are positive groups when there are fewer of these.
        seed: the same seed and rows give the same choice.
        weights: 0 or more, shape (n,), or none.
    """
    at_least("folds", folds, 2)
    y = binary_labels(labels)
    z = finite_vector("logits", logits, len(y))
    w = row_weights(weights, len(y))
    fold_of = _stratified_folds(y, groups, folds, seed)
    if fold_of is None:
        return IdentityCalibrator()
    candidates: list[type[Calibrator]] = [IdentityCalibrator, PlattCalibrator]
    positives = float(w @ y)
    candidates += [BetaCalibrator] if positives >= FEW_POSITIVES else []
    candidates += [IsotonicCalibrator] if positives >= MANY_POSITIVES else []
    chosen, losses = candidates[0], _held_out_losses(candidates[0], z, y, w, fold_of)
    for candidate in candidates[1:]:
        tried = _held_out_losses(candidate, z, y, w, fold_of)
        if _is_lower(losses - tried, w):
            chosen, losses = candidate, tried
    return chosen.fit(z, y, w)


def _is_lower(saved: FloatArray, w: FloatArray) -> bool:
    """Tell whether the mean of what each row saves is above 0 by more than one standard error."""
    total = w.sum()
    mean = w @ saved / total
    return bool(mean > np.sqrt(w @ (saved - mean) ** 2 / total / total))


def _held_out_losses(
    kind: type[Calibrator], z: FloatArray, y: FloatArray, w: FloatArray, fold_of: IntArray
) -> FloatArray:
    """Return each row's −ln p of the label that came true, by a map that was fitted on the other folds."""
    probability = np.empty_like(z)
    for fold in range(int(fold_of.max()) + 1):
        held_out = fold_of == fold
        probability[held_out] = kind.fit(z[~held_out], y[~held_out], w[~held_out])(z[held_out])
    return np.asarray(-np.log(np.maximum(np.where(y == 1, probability, 1 - probability), SMALLEST_PROBABILITY)))


def _stratified_folds(y: FloatArray, groups: npt.ArrayLike | None, folds: int, seed: int) -> IntArray | None:
    """Deal groups out in random order, those with a positive first; None when a class has fewer than two groups.

    scikit-learn's ``StratifiedGroupKFold`` does the same with a Python loop over groups, too slow for a million owners.
    """
    named = np.arange(len(y)) if groups is None else np.asarray(groups)
    if named.shape != y.shape:
        raise InputError(f"groups: found shape {named.shape}, expected one group a row, shape {y.shape}")
    codes, names = pd.factorize(named, sort=True, use_na_sentinel=False)
    positive = np.bincount(codes, weights=y, minlength=len(names)) > 0
    folds = min(folds, int(positive.sum()), int((~positive).sum()))
    if folds < 2:
        return None
    shuffled = np.lexsort([np.random.default_rng(seed).random(len(names)), ~positive])
    fold_of_group = np.empty(len(names), dtype=np.int64)
    fold_of_group[shuffled] = np.arange(len(names)) % folds
    fold_of: IntArray = fold_of_group[codes]
    return fold_of
