"""Every aggregate has a sentence for its values and for null."""

from __future__ import annotations

from typing import get_args

import pytest

from remedi_spark.config.measures import EVER, EVER_DAYS, QUANTILES, RANKED, Aggregate
from remedi_spark.features.dictionary import Entry
from remedi_spark.features.phrases import aggregated

WEEKS = "in the last 28 days"
SENTENCES = {
    "count": (f"3 visits {WEEKS}", f"1 visit {WEEKS}", f"visits {WEEKS}: not known"),
    "sum": (f"total seconds of visits {WEEKS}: 3", None, f"seconds of visits {WEEKS}: not known"),
    "mean": (f"mean seconds of visits {WEEKS}: 3", None, f"no seconds of visits {WEEKS}"),
    "max": (f"largest seconds of visits {WEEKS}: 3", None, f"no seconds of visits {WEEKS}"),
    "min": (f"smallest seconds of visits {WEEKS}: 3", None, f"no seconds of visits {WEEKS}"),
    "std": (
        f"standard deviation of seconds of visits {WEEKS}: 3", None, f"fewer than two visits with seconds {WEEKS}"
    ),
    "variance": (f"variance of seconds of visits {WEEKS}: 3", None, f"fewer than two visits with seconds {WEEKS}"),
    "skew": (
        f"skewness of seconds of visits {WEEKS}: 3", None, f"fewer than three different visits by seconds {WEEKS}"
    ),
    "median": (f"median seconds of visits {WEEKS}: 3", None, f"no seconds of visits {WEEKS}"),
    "percentile": (f"90 % of seconds of visits {WEEKS} are at most 3", None, f"no seconds of visits {WEEKS}"),
    "approx_percentile": (
        f"90 % of seconds of visits {WEEKS} are at most about 3", None, f"no seconds of visits {WEEKS}"
    ),
    "first": (f"first seconds of visits {WEEKS}: 3", None, f"no seconds of visits {WEEKS}"),
    "last": (f"latest seconds of visits {WEEKS}: 3", None, f"no seconds of visits {WEEKS}"),
    "first_k": (f"second first seconds of visits {WEEKS}: 3", None, f"no second first seconds of visits {WEEKS}"),
    "last_k": (f"second latest seconds of visits {WEEKS}: 3", None, f"no second latest seconds of visits {WEEKS}"),
    "top_k": (f"second largest seconds of visits {WEEKS}: 3", None, f"no second largest seconds of visits {WEEKS}"),
    "bottom_k": (
        f"second smallest seconds of visits {WEEKS}: 3", None, f"no second smallest seconds of visits {WEEKS}"
    ),
    "approx_distinct": (
        f"number of different seconds of visits {WEEKS}: about 3", None, f"seconds of visits {WEEKS}: not known"
    ),
    "gap_max": (
        f"3 days at most between days with visits {WEEKS}", f"1 day at most between days with visits {WEEKS}",
        f"fewer than two days with visits {WEEKS}",
    ),
    "streak_max": (
        f"3 days in a row with visits {WEEKS}", f"1 day in a row with visits {WEEKS}", f"visits {WEEKS}: not known"
    ),
    "regularity": (
        f"evenness of days with visits {WEEKS}: 3", None, f"fewer than three days with visits {WEEKS}"
    ),
    "distinct": (f"number of different seconds of visits {WEEKS}: 3", None, f"seconds of visits {WEEKS}: not known"),
    "active_days": (f"3 days with visits {WEEKS}", f"1 day with visits {WEEKS}", f"visits {WEEKS}: not known"),
    "gap_mean": (
        f"3 days on average between days with visits {WEEKS}", f"1 day on average between days with visits {WEEKS}",
        f"fewer than two days with visits {WEEKS}",
    ),
    "days_since_last": ("3 days since the last visit", "1 day since the last visit", "no visit known yet"),
    "days_since_first": ("3 days since the first visit", "1 day since the first visit", "no visit known yet"),
    "trend": (
        "visits a day in the last 7 days: 3 times that in the last 28 days", None, "no visits in the last 28 days"
    ),
    "share": (f"share of visits in calls {WEEKS}: 3", None, f"no calls {WEEKS}"),
}  # fmt: skip


@pytest.mark.parametrize("aggregate", get_args(Aggregate))
def test_every_aggregate_is_said(aggregate: str) -> None:
    many, one, none = SENTENCES[aggregate]
    windows = () if aggregate in EVER else (7, 28) if aggregate == "trend" else (28,)
    of = "seconds" if "seconds" in many else None
    number = 0.9 if aggregate in QUANTILES else 2 if aggregate in RANKED else 1
    phrase = aggregated(aggregate, ("visit", "visits"), of, windows, "calls", number)
    said = phrase.sentence("3"), phrase.sentence("1"), phrase.sentence(None)
    assert said == (many, one or many.replace("3", "1"), none)


def test_the_usual_value_names_days_and_nothing_else() -> None:
    last = aggregated("days_since_last", ("visit", "visits"), None, ())
    assert [last.usual(value) for value in ("41", "1", None)] == ["usual: 41 days", "usual: 1 day", "usual: none"]
    assert aggregated("count", ("visit", "visits"), None, (1,)).usual("2") == "usual: 2"


def test_a_part_of_a_total_and_a_total_are_said_with_what_is_added_up() -> None:
    share = aggregated("share", ("visit", "visits"), "EUR", (28,), "calls")
    assert share.sentence("0.5") == f"share of visits in EUR of calls {WEEKS}: 0.5"
    trend = aggregated("trend", ("visit", "visits"), "EUR", (7, 28))
    assert trend.sentence(None) == "no EUR of visits in the last 28 days"


def test_a_line_of_the_dictionary_without_a_sentence_is_said_by_its_words() -> None:
    gap = Entry("gap", "largest gap", "visits", "60 days", "days", "fewer than two visits").phrase
    assert gap.sentence("1") == "largest gap within 60 days: 1 day"
    assert gap.sentence(None) == "largest gap within 60 days: not known (fewer than two visits)"
    assert gap.usual("3") == "usual: 3 days"
    assert Entry("r", "a over b", "ratio", None, "ratio", "b is 0").phrase.sentence("2.5") == "a over b: 2.5"


def test_all_known_history_is_no_number_of_days() -> None:
    ever = aggregated("count", ("visit", "visits"), None, (EVER_DAYS,))
    assert ever.sentence("3") == "3 visits in all known history"
