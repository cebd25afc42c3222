"""The search never ends below its start, finds a planted best and survives diverging trials."""

from __future__ import annotations

import math

from remedi_spark.config.adapt import AdaptConfig
from remedi_spark.segments.search import search
from tests.adaptation.conftest import fast


def test_a_planted_best_is_found_and_short_trials_leave_the_length_alone() -> None:
    start = fast(search={"trials": 40, "iterations": 3})
    lengths = set()

    def measure(tried: AdaptConfig) -> float:
        lengths.add(tried.meta.iterations)
        return -abs(math.log(tried.meta.inner_rate / 0.7)) - (tried.meta.layers != "wide")

    best = search(start, measure, seed=0)
    assert lengths == {3}
    assert best.meta.iterations == start.meta.iterations
    assert best.meta.layers == "wide"
    assert 0.35 < best.meta.inner_rate < 1.4


def test_the_present_settings_are_tried_first_and_kept_when_all_else_diverges() -> None:
    start = fast(search={"trials": 5, "iterations": 3})

    def measure(tried: AdaptConfig) -> float:
        return 0.1 if tried.meta.inner_rate == start.meta.inner_rate else math.nan

    assert search(start, measure, seed=0).meta.inner_rate == start.meta.inner_rate
    assert search(start, lambda _: math.nan, seed=0) == start


def test_anil_has_no_layers_to_search() -> None:
    start = fast(meta={"algorithm": "anil"}, search={"trials": 3, "iterations": 3})
    assert search(start, lambda tried: tried.meta.inner_rate, seed=0).meta.layers == start.meta.layers
