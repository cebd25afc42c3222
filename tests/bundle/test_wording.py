"""Values and usual values in words, as people who never open Python read them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from remedi_spark.samples.encoder import NULL_LEVEL, Encoder, Levels
from remedi_spark.samples.schema import Feature, FeatureContract, Kind
from remedi_spark.scoring.wording import Wording, shown

NONE = float("nan")


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (3.0, "number", "3"), (-0.0, "number", "0"), (0.123456, "number", "0.1235"), (-12345.6, "number", "-12346"),
        (1234567.0, "number", "1234567"), (1e300, "number", "1e+300"), (NONE, "number", None),
        (1.0, "boolean", "true"), (0.0, "boolean", "false"), (NONE, "boolean", None),
        (20484.0, "date", "2026-01-31"), (-1.0, "date", "1969-12-31"), (2932896.0, "date", "9999-12-31"),
        (20484.5, "timestamp", "2026-01-31 12:00 UTC"), (-0.25, "timestamp", "1969-12-31 18:00 UTC"),
        ("<b>North</b>", "category", "<b>North</b>"), (" ", "category", "empty"), (None, "category", None),
    ],
)  # fmt: skip
def test_values_are_written_as_people_write_them(value: Any, kind: Kind, expected: str | None) -> None:
    assert shown(value, kind) == expected


def _wording(names: tuple[str, ...], distribution: dict[str, Any] | None = None, **phrases: Any) -> Wording:
    features = (Feature("region", "category"), Feature("visits", "number"), Feature("since", "date"))
    levels = Levels(names, np.ones((len(names), 2)), np.zeros((len(names), 2)))
    encoder = Encoder(FeatureContract(features), {0: levels}, np.ones(2), np.zeros(2), 2, True, 1.0, 10)
    return Wording(encoder, distribution, phrases)


COUNTED = {
    "edges": [None, [2.0, 4.0, 6.0], [20000.0]],
    "counts": [[60, 40, 0, 0, 0], [25, 25, 25, 25, 90], [10, 0, 190]],
}
"""The median of ``visits`` is 4; ``since`` is null in most rows."""


def test_levels_numbers_and_days_beside_what_is_usual() -> None:
    wording = _wording(("South", "North"), COUNTED)
    assert wording.sentence(0, "North") == "region is North, usual: South"
    assert wording.sentence(0, None) == "region is not known, usual: South"
    assert wording.sentence(1, 12.3) == "visits is 12.3, usual: 4"
    assert wording.sentence(2, 20484.0) == "since is 2026-01-31, usual: none"
    assert _wording((NULL_LEVEL, "North")).sentence(0, "North") == "region is North, usual: none"


def test_a_phrase_of_the_dictionary_is_used() -> None:
    phrase = {"many": "{value} visits", "one": "{value} visit", "none": "no visit known", "unit": "days"}
    wording = _wording(("South",), COUNTED, visits=phrase)
    said = [wording.sentence(1, value) for value in (2.0, 1.0, NONE)]
    assert said == [f"{what}, usual: 4 days" for what in ("2 visits", "1 visit", "no visit known")]


def test_without_the_training_rows_bins_no_usual_number_is_said() -> None:
    wording = _wording(())
    assert [wording.sentence(0, "a"), wording.sentence(1, 2.0)] == ["region is a", "visits is 2"]
