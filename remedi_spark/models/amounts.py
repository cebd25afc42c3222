"""Models with a log link learn an amount in its own unit, and are read on the standardised scale of the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from remedi_spark.config.regression import OF_TASK
from remedi_spark.maths.label_scale import LabelScale
from remedi_spark.models.contract import AMOUNT, Array, Predictor, TrainingSet
from remedi_spark.models.reference import Reference

_LARGEST_LOG = 300.0
"""exp of more than about 709 is infinite."""


def amount_objective(configured: str | None) -> str:
    """Return the objective for a real target: the configured one if it is for amounts, else squared error."""
    return configured if configured in OF_TASK["regression"] else "l2"


def log_of_amounts(data: TrainingSet) -> tuple[TrainingSet, dict[str, Any]]:
    """Return the rows with the amount itself as the target, and the facts that :func:`on_scale` needs of the fit."""
    if data.amounts is None:
        raise ValueError("a log link needs amounts of 0 or more, but the target is no amount")
    return replace(data, examples=data.examples.with_target(AMOUNT)), {"label_scale": data.amounts.scale.to_dict()}


def on_scale(predictor: Predictor, info: dict[str, Any]) -> Predictor:
    """Return a predictor of logs of amounts as one of standardised amounts; any other as it is."""
    stored = info.get("label_scale")
    if stored is None:
        return predictor
    scale = LabelScale.from_dict(stored)
    return Mapped(predictor, lambda log: scale.margin(np.exp(np.clip(log, -_LARGEST_LOG, _LARGEST_LOG))))


class Mapped:
    """A predictor seen through a function of its margin."""

    def __init__(self, inner: Predictor, function: Callable[[Array], Array]) -> None:
        self._inner, self._function = inner, function

    def __call__(self, x: Array) -> Array:
        """Return the function of the margins."""
        return self._function(self._inner(x))

    def contributions(self, x: Array, reference: Reference) -> tuple[Array, Array]:
        """Return contributions in proportion to the inner ones, which add up to the change of the function."""
        inner, start = self._inner.contributions(x, reference)
        total = inner.sum(axis=1)
        base = self._function(start)
        change = self._function(start + total) - base
        share: Array = np.divide(change, total, out=np.zeros_like(total), where=np.abs(total) > 1e-12)
        return inner * share[:, None], base
