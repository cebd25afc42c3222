from __future__ import annotations

import pytest

from remedi_spark.report.page import formatting as fmt


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.293456, "0.293"),
        (0.9996, "1.00"),
        (9.996, "10.0"),
        (12345.6, "12,300"),
        (0.000123456, "0.000123"),
        (0.0000123456, "1.23e−05"),
        (-0.5, "−0.500"),
        (0.0, "0"),
        (None, "–"),
        (float("nan"), "–"),
    ],
)
def test_three_significant_digits(value: float | None, text: str) -> None:
    assert fmt.number(value) == text


def test_shares_in_per_cent() -> None:
    assert fmt.percent(0.0746) == "7.46\u202f%"
    assert fmt.percent(0.67, 2) == "67\u202f%"
    assert fmt.budget(0.075) == "7.5\u202f%"
    assert fmt.budget(0.1) == "10\u202f%"


def test_an_interval_keeps_one_unit_and_vanishes_when_a_bound_is_missing() -> None:
    assert fmt.interval("recall_at_k", (0.612, 0.7244)) == "61.2\u202f–\u202f72.4"
    assert fmt.interval("ap", (0.271, 0.3149)) == "0.271\u202f–\u202f0.315"
    assert fmt.interval("ap", (0.271, None)) == ""
    assert fmt.interval("ap", None) == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.42, "0.42 s"), (42.4, "42 s"), (192.0, "3.2 min"), (7560.0, "2.1 h"), (None, "–")],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert fmt.duration(seconds).replace("\u202f", " ") == text


def test_times_are_shown_to_the_minute_and_other_text_as_it_is() -> None:
    assert fmt.moment("2026-03-01T02:04:41+00:00") == "2026-03-01 02:04 UTC"
    assert fmt.moment("last night") == "last night"
