"""How a reason says the value of a feature in one sentence; free of Spark, because a bundle says it too."""

from __future__ import annotations

import re
from dataclasses import dataclass

from remedi_spark.config.measures import EVER_DAYS, window_words

VALUE = "{value}"
"""What stands in a phrase for the value."""


@dataclass(frozen=True)
class Phrase:
    """A sentence about one feature, with ``{value}`` in the place of the value."""

    many: str
    one: str
    """For a value of exactly 1."""
    none: str
    """For a null."""
    unit: str = ""
    """What is counted (``days``), said after the usual value."""

    def sentence(self, value: str | None) -> str:
        """Return the sentence for a value as text, None for null."""
        text = self.none if value is None else self.one if value == "1" else self.many
        return re.sub(r"\{?\{value\}\}?", lambda found: value or "" if found[0] == VALUE else found[0][1:-1], text)

    def usual(self, value: str | None) -> str:
        """Return the usual value as the end of the sentence."""
        unit = self.unit.removesuffix("s") if value == "1" else self.unit
        return f"usual: {'none' if value is None else f'{value} {unit}'.rstrip()}"


def as_text(words: str) -> str:
    """Return words of the user's for a phrase: a ``{value}`` in them is none."""
    return words.replace(VALUE, f"{{{VALUE}}}")


def plain(name: str) -> Phrase:
    """Return the phrase of a column of which only the name is known."""
    name = as_text(name)
    return Phrase(f"{name} is {VALUE}", f"{name} is {VALUE}", f"{name} is not known")


def described(meaning: str, window: str | None, unit: str, null_meaning: str) -> Phrase:
    """Return the phrase of a feature from its line of the dictionary."""
    meaning, null_meaning = as_text(meaning), as_text(null_meaning)
    what = f"{meaning} within {window}" if window else meaning
    days = unit == "days"
    many, one = (f"{what}: {VALUE}{f' {noun}' if days else ''}" for noun in ("days", "day"))
    return Phrase(many, one, f"{what}: not known ({null_meaning})", unit if days else "")


_NO_VALUE, _UNKNOWN = "no {what}{within}", "{what}{within}: not known"
_AGGREGATES = {
    "count": Phrase("{value} {many}{within}", "{value} {one}{within}", ""),
    "sum": Phrase("total {what}{within}: {value}", "", ""),
    "mean": Phrase("mean {what}{within}: {value}", "", _NO_VALUE),
    "max": Phrase("largest {what}{within}: {value}", "", _NO_VALUE),
    "min": Phrase("smallest {what}{within}: {value}", "", _NO_VALUE),
    "std": Phrase("standard deviation of {what}{within}: {value}", "", "fewer than two {many} with {of}{within}"),
    "variance": Phrase("variance of {what}{within}: {value}", "", "fewer than two {many} with {of}{within}"),
    "skew": Phrase("skewness of {what}{within}: {value}", "", "fewer than three different {many} by {of}{within}"),
    "median": Phrase("median {what}{within}: {value}", "", _NO_VALUE),
    "percentile": Phrase("{share} of {what}{within} are at most {value}", "", _NO_VALUE),
    "approx_percentile": Phrase("{share} of {what}{within} are at most about {value}", "", _NO_VALUE),
    "first": Phrase("first {what}{within}: {value}", "", _NO_VALUE),
    "last": Phrase("latest {what}{within}: {value}", "", _NO_VALUE),
    "first_k": Phrase("{ranked}first {what}{within}: {value}", "", "no {ranked}first {what}{within}"),
    "last_k": Phrase("{ranked}latest {what}{within}: {value}", "", "no {ranked}latest {what}{within}"),
    "top_k": Phrase("{ranked}largest {what}{within}: {value}", "", "no {ranked}largest {what}{within}"),
    "bottom_k": Phrase("{ranked}smallest {what}{within}: {value}", "", "no {ranked}smallest {what}{within}"),
    "distinct": Phrase("number of different {what}{within}: {value}", "", ""),
    "approx_distinct": Phrase("number of different {what}{within}: about {value}", "", ""),
    "active_days": Phrase("{value} days with {many}{within}", "{value} day with {many}{within}", "", "days"),
    "gap_mean": Phrase(
        "{value} days on average between days with {many}{within}",
        "{value} day on average between days with {many}{within}",
        "fewer than two days with {many}{within}",
        "days",
    ),
    "gap_max": Phrase(
        "{value} days at most between days with {many}{within}",
        "{value} day at most between days with {many}{within}",
        "fewer than two days with {many}{within}",
        "days",
    ),
    "streak_max": Phrase(
        "{value} days in a row with {many}{within}", "{value} day in a row with {many}{within}", "", "days"
    ),
    "regularity": Phrase(
        "evenness of days with {many}{within}: {value}", "", "fewer than three days with {many}{within}"
    ),
    "days_since_last": Phrase(
        "{value} days since the last {one}", "{value} day since the last {one}", "no {one} known yet", "days"
    ),
    "days_since_first": Phrase(
        "{value} days since the first {one}", "{value} day since the first {one}", "no {one} known yet", "days"
    ),
    "trend": Phrase("{what} a day{within}: {value} times that in the last {long}", "", "no {what} in the last {long}"),
    "share": Phrase("share of {many} in {whole}{within}: {value}", "", "no {whole}{within}"),
}


_ORDINALS = {1.0: "", 2.0: "second ", 3.0: "third "}


def aggregated(
    aggregate: str, nouns: tuple[str, str], of: str | None, windows: tuple[int, ...], whole: str = "", number: float = 1
) -> Phrase:
    """Return the phrase of an aggregate of events.

    Args:
        aggregate: its name in the configuration.
        nouns: one event, and several, in words.
        of: what is aggregated of an event, in words; None: events are counted.
        windows: in days, the shortest first; empty: all known history.
        whole: the events that a share is taken of, in words.
        number: which quantile, or which place among the first, latest, largest or smallest.
    """
    nouns, of, whole = (as_text(nouns[0]), as_text(nouns[1])), of and as_text(of), as_text(whole)
    words = {
        "value": VALUE, "one": nouns[0], "many": nouns[1], "of": of or "", "what": _of(of, nouns[1]),
        "whole": _of(of, whole), "within": _within(windows),
        "share": f"{100 * number:g} %", "ranked": _ORDINALS.get(number, f"{number:g}th "),
        "long": _words(windows[-1]) if windows else "",
    }  # fmt: skip
    pattern = _AGGREGATES[aggregate]
    parts = (pattern.many, pattern.one or pattern.many, pattern.none or _UNKNOWN)
    many, one, none = (part.format(**words) for part in parts)
    return Phrase(many, one, none, pattern.unit)


def _of(of: str | None, events: str) -> str:
    return f"{of} of {events}" if of else events


def _within(windows: tuple[int, ...]) -> str:
    if not windows:
        return ""
    return " in all known history" if windows[0] == EVER_DAYS else f" in the last {_words(windows[0])}"


def _words(window: int) -> str:
    return window_words(window).removeprefix("1 ") if abs(window) == 1 else window_words(window)
