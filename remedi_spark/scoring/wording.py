"""Reasons in words: the value of a feature beside what is usual, as in ``region is North, usual: South``.

What is usual, :mod:`remedi_spark.scoring.usual` tells; where it is not known, the sentence ends with the value.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from remedi_spark.features.phrases import Phrase, plain
from remedi_spark.samples.encoder import Encoder
from remedi_spark.samples.schema import Kind
from remedi_spark.scoring.usual import usual_values


class Wording:
    """Says the values of a bundle's features.

    Args:
        encoder: the fitted encoder.
        distribution: of the training rows, as the bundle keeps it; None: unknown.
        phrases: by feature, the fields of its :class:`Phrase`; others are said by their names.
    """

    def __init__(
        self, encoder: Encoder, distribution: dict[str, Any] | None, phrases: Mapping[str, Mapping[str, str]]
    ) -> None:
        self._encoder, self._distribution = encoder, distribution
        self._phrases = [Phrase(**phrases[name]) if name in phrases else plain(name) for name in encoder.contract.names]

    def sentence(self, feature: int, value: Any) -> str:
        """Return a sentence about the value of a feature under inside names (a number of days for a date)."""
        sentence = self._phrases[feature].sentence(shown(value, self._encoder.contract.features[feature].kind))
        usual = self._usual[feature]
        return sentence if usual is None else f"{sentence}, {usual}"

    @cached_property
    def _usual(self) -> list[str | None]:
        """By feature, the end of its sentences."""
        features, usual = self._encoder.contract.features, usual_values(self._encoder, self._distribution)
        return [
            phrase.usual(shown(one.value, feature.kind)) if one.known else None
            for phrase, feature, one in zip(self._phrases, features, usual, strict=True)
        ]


def shown(value: Any, kind: Kind) -> str | None:
    """Return a value under inside names as people write it; None for null."""
    if pd.isna(value):
        return None
    match kind:
        case "category":
            return str(value) if str(value).strip() else "empty"
        case "boolean":
            return "true" if value else "false"
        case "date":
            return str(np.datetime64(int(value // 1), "D"))
        case "timestamp":
            return str(np.datetime64(round(value * 1440), "m")).replace("T", " ") + " UTC"
        case "number":
            return _number(value)


def _number(value: float) -> str:
    """Return four significant digits, or all digits before the point, without an exponent as far as that is short."""
    whole = abs(value) < 1e15 and (abs(value) >= 1000 or value == int(value))
    return f"{value + 0.0:.0f}" if whole else f"{value:.4g}"
