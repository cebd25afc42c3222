"""What rare labels need: priors, focal loss, and smoothing over the labels of a regression (LDS, FDS)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from remedi_spark.imbalance.focal import best_constant, focal_gradient, focal_hessian, focal_loss, lightgbm_objective
from remedi_spark.imbalance.label_density import LabelDensity
from remedi_spark.imbalance.lds import label_density, lds_weights
from remedi_spark.imbalance.priors import correct_negative_sampling, shift_prior, shift_prior_logits

if TYPE_CHECKING:
    from remedi_spark.imbalance.fds import FDS

__all__ = [
    "FDS",
    "LabelDensity",
    "best_constant",
    "correct_negative_sampling",
    "focal_gradient",
    "focal_hessian",
    "focal_loss",
    "label_density",
    "lds_weights",
    "lightgbm_objective",
    "shift_prior",
    "shift_prior_logits",
]


def __getattr__(name: str) -> Any:
    """Load torch only when ``FDS`` is asked for."""
    if name == "FDS":
        from remedi_spark.imbalance.fds import FDS

        return FDS
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
