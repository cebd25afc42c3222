"""Interval accumulation equals looking at every row from every snapshot."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from remedi_spark.columns import OWNER, SNAPSHOT
from remedi_spark.features import readings
from remedi_spark.features.accumulate import Rows, extremes, first_of_each, so_far, starts, totals
from remedi_spark.features.readings import Reader
from remedi_spark.features.sources import DAY, KNOWN
from remedi_spark.features.wants import Label, Want

OWNERS, SNAPSHOTS, COUNT = 7, 9, 400


@pytest.fixture(params=[0, 1])
def drawn(request: Any) -> tuple[Rows, Any, Any]:
    rng = np.random.default_rng(request.param)
    rows = Rows(
        rng.integers(0, OWNERS, COUNT), rng.integers(0, SNAPSHOTS + 1, COUNT).astype(np.int64), OWNERS, SNAPSHOTS
    )
    return rows, rng.integers(0, SNAPSHOTS + 1, COUNT), rng.integers(-50, 50, COUNT)


def _seen(rows: Rows, high: Any, owner: int, snapshot: int) -> Any:
    return (rows.owner == owner) & (rows.low <= snapshot) & (snapshot < high)


def test_totals(drawn: tuple[Rows, Any, Any]) -> None:
    rows, high, values = drawn
    found = totals(rows, starts(rows, values), high, values)
    expected = [[values[_seen(rows, high, i, s)].sum() for s in range(SNAPSHOTS)] for i in range(OWNERS)]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("largest", [True, False])
def test_extremes_with_nan_as_the_largest(drawn: tuple[Rows, Any, Any], largest: bool) -> None:
    rows, high, whole = drawn
    values = np.where(whole % 10 == 0, np.nan, whole.astype(float))
    nothing = np.asarray(-np.inf if largest else np.nan)
    found = extremes(rows, high, values, largest=largest, nothing=nothing)
    for i in range(OWNERS):
        for s in range(SNAPSHOTS):
            seen = values[_seen(rows, high, i, s)]
            expected = nothing if not len(seen) else seen.max() if largest else np.fmin.reduce(seen)
            np.testing.assert_equal(found[i, s], expected)


@pytest.mark.parametrize("largest", [True, False])
def test_so_far(drawn: tuple[Rows, Any, Any], largest: bool) -> None:
    rows, _, values = drawn
    found = so_far(rows, values, largest=largest, nothing=np.asarray(-99 if largest else 99))
    for i in range(OWNERS):
        for s in range(SNAPSHOTS):
            seen = values[(rows.owner == i) & (rows.low <= s)]
            expected = seen.max(initial=-99) if largest else seen.min(initial=99)
            assert found[i, s] == expected


def test_a_day_that_is_told_of_twice_counts_from_its_first_report() -> None:
    owner, day = np.array([0, 0, 0, 1]), np.array([5, 5, 6, 5])
    known = np.array([9, 7, 8, 9])
    assert sorted(first_of_each(owner, day, known)) == [1, 2, 3]


def _table(owners: list[str]) -> pa.Table:
    count = len(owners)
    return pa.table(
        {
            OWNER: owners,
            DAY: pa.array(np.arange(count) % 30, pa.int32()).cast(pa.date32()),
            KNOWN: pa.array(np.arange(count) % 30, pa.int32()).cast(pa.date32()),
            "amount": pa.array([i if i % 3 else None for i in range(count)], pa.int64()),
        }
    )


def test_chunks_hold_whole_owners(monkeypatch: pytest.MonkeyPatch) -> None:
    """One owner has more rows than a chunk, the others end wherever they do; batches of any size give the same."""
    rows = _table([*["a"] * 5, *["b"] * 130, *["c"] * 7, *["d"] * 31, *["e"] * 2])
    wants = tuple(Want(f"{view}_{w}", "amount", view, w) for view in ("total", "newest", "days") for w in (3, 20))
    reader = Reader((4, 11, 18, 29), wants, (Label(("amount",), ("amount",), 0, 7),))
    whole = reader.read(rows)
    monkeypatch.setattr(readings, "CHUNK", 25)
    for size in (1, 10, 26, 1000):
        found = pa.Table.from_batches(list(reader(iter(rows.to_batches(max_chunksize=size)))))
        assert found.equals(whole), size
    assert whole.num_rows == 4 + 4 + 2 + 4 + 1  # c is known from day 15 on, e from day 23 on
    assert whole.column_names == [OWNER, SNAPSHOT, *(want.name for want in wants), "amount"]


def test_an_empty_partition_gives_nothing() -> None:
    assert list(Reader((4,), ())(iter([]))) == []
