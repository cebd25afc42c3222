"""Moving probabilities from one share of positives to another, so that models of different samples can be compared.

Changing the prior multiplies the odds by a constant, which is a shift of the logit (Elkan, 2001, theorem 2).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from remedi_spark.errors import InputError
from remedi_spark.maths.checks import FloatArray


def correct_negative_sampling(p: npt.ArrayLike, kept_rate: float) -> FloatArray:
    """Undo training on a sample of the negatives: p_s / (p_s + (1 − p_s) / w).

    Args:
        p: probabilities of a model trained on all positives and a share of the negatives, in [0, 1], any shape.
        kept_rate: the share w of negatives that were kept, in (0, 1].

    Returns:
        Probabilities under the full population's prior, in the shape of ``p``.

    >>> correct_negative_sampling([0.5], 0.1).round(4).tolist()  # 0.05 / 0.55
    [0.0909]
    """
    if not 0 < kept_rate <= 1:
        raise InputError(f"kept_rate: found {kept_rate}, expected the share of negatives kept, in (0, 1]")
    p = np.asarray(p, dtype=np.float64)
    return _from_odds(p * kept_rate, 1 - p)


def shift_prior(p: npt.ArrayLike, from_prior: float, to_prior: float) -> FloatArray:
    """Probabilities in [0, 1], any shape, as they would be with ``to_prior`` positives instead of ``from_prior``."""
    odds = np.exp(_logit("to_prior", to_prior) - _logit("from_prior", from_prior))
    p = np.asarray(p, dtype=np.float64)
    return _from_odds(p * odds, 1 - p)


def shift_prior_logits(logits: npt.ArrayLike, from_prior: float, to_prior: float) -> FloatArray:
    """``shift_prior`` on logits, any shape: exact where the probability is too near to 0 or 1 to tell."""
    return np.asarray(logits, dtype=np.float64) + (_logit("to_prior", to_prior) - _logit("from_prior", from_prior))


def _from_odds(positive: FloatArray, negative: FloatArray) -> FloatArray:
    return positive / (positive + negative)


def _logit(name: str, prior: float) -> float:
    if not 0 < prior < 1:
        raise InputError(f"{name}: found {prior}, expected a share of positives above 0 and below 1")
    return float(np.log(prior) - np.log1p(-prior))
