"""Native scoring and explaining without Spark, one thread a task: what every family's predictor is wrapped in."""

from __future__ import annotations

from remedi_spark.models.amounts import Mapped, on_scale
from remedi_spark.models.contract import Predictor
from remedi_spark.models.registry import predictor_of
from remedi_spark.storage.fitted import Fitted


def load_predictor(fitted: Fitted) -> Predictor:
    """Return the predictor of a fitted model; load it once per task, not once per batch."""
    predictor, slope, shift = on_scale(predictor_of(fitted), fitted.info), fitted.slope, fitted.shift
    if (slope, shift) == (1.0, 0.0):
        return predictor
    return Mapped(predictor, lambda margin: slope * margin + shift)
