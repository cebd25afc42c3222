"""Tasks drawn from a segment: no owner in both, support known before the query, K positives, rates kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from remedi_spark.segments.maths.segments import SegmentRows, TaskRules, draw_support, draw_task

RULES = TaskRules(support_rows=100, query_rows=60, gap_days=28, history_days=60)


def segment(owners: int = 300, times: tuple[int, ...] = (0, 28, 56, 84), rate: float = 0.1) -> SegmentRows:
    rng = np.random.default_rng(12345)
    owner = np.tile(np.arange(owners), len(times))
    y = (rng.random(len(owner)) < rate).astype(float)
    return SegmentRows("s", rng.normal(size=(len(owner), 2)), y, owner, np.repeat(times, owners), np.ones(len(owner)))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), k=st.integers(1, 10))
def test_every_task_keeps_the_rules(seed: int, k: int) -> None:
    rows = segment()
    drawn = draw_task(rows, k, RULES, np.random.default_rng(seed))
    assume(drawn is not None)  # half of the owners may hold fewer than k buyers
    assert drawn is not None
    assert not set(rows.owner[drawn.support]) & set(rows.owner[drawn.query])
    moments = np.unique(rows.time[drawn.query])
    assert len(moments) == 1
    assert rows.time[drawn.support].max() <= moments[0] - 28
    assert rows.time[drawn.support].min() >= moments[0] - 60
    assert rows.y[drawn.support].sum() == k
    assert len(np.unique(rows.owner[drawn.support])) == len(drawn.support), "one row an owner"
    assert len(drawn.support) <= 100
    assert len(drawn.query) <= 60


def test_the_weights_keep_the_rate_of_the_segment() -> None:
    rows = segment(owners=3000, rate=0.02)
    drawn = draw_task(rows, 10, RULES, np.random.default_rng(1), moment=84)
    assert drawn is not None
    y = rows.y[drawn.support]
    assert np.average(y, weights=drawn.support_weight) == pytest.approx(0.02, rel=0.3)
    query = rows.y[drawn.query]
    everyone = rows.y[rows.time == 84].mean()
    assert np.average(query, weights=drawn.query_weight) == pytest.approx(everyone, rel=0.25)


def test_one_moment_has_support_and_query_at_once_from_different_owners() -> None:
    rows = segment(times=(5,))
    drawn = draw_task(rows, 3, RULES, np.random.default_rng(0))
    assert drawn is not None
    assert not set(rows.owner[drawn.support]) & set(rows.owner[drawn.query])


@pytest.mark.parametrize(
    ("rows", "k"),
    [
        (segment(rate=0.0), 1),
        (segment(rate=1.0), 1),
        (segment(), 10_000),
        (segment(times=(0, 10)), 3),
    ],
    ids=["no positive", "no negative", "support larger than the segment", "no moment late enough"],
)
def test_what_cannot_be_drawn_is_none(rows: Any, k: int) -> None:
    assert draw_task(rows, k, RULES, np.random.default_rng(0)) is None


def test_a_support_stops_at_its_size_and_makes_up_by_weight() -> None:
    rows = segment(owners=3000, rate=0.01)
    found = draw_support(rows, np.flatnonzero(rows.time == 0), 10, 50, np.random.default_rng(0))
    assert found is not None
    positions, weight = found
    assert len(positions) == 50
    assert weight[:10].tolist() == [1.0] * 10
    rate = rows.y[rows.time == 0].mean()
    assert 10 / weight.sum() == pytest.approx(rate)
