"""Columns of one value, counted batch by batch and task by task."""

from __future__ import annotations

import pyarrow as pa

from remedi_spark.samples.extents import Extents, merged


def _task(*batches: list[pa.Array]) -> str:
    found = Extents(len(batches[0]))
    for batch in batches:
        found.add(batch)
    return found.to_json()


def test_one_value_and_no_null_is_constant_and_so_is_no_value() -> None:
    same, none = pa.array([5.0, 5.0]), pa.array([None, None], pa.float64())
    some, other, text = pa.array([5.0, None]), pa.array([5.0, 6.0]), pa.array(["x", "x"])
    found = merged([_task([same, none, some, other, text])], 5)
    assert found.known.tolist() == [2, 0, 1, 2, 2]
    assert found.constant(2) == {0, 1, 4}


def test_values_that_differ_between_batches_or_tasks_vary() -> None:
    first, second = (
        [pa.array([1.0]), pa.array(["a"]), pa.array([2.0])],
        [pa.array([1.5]), pa.array(["a"]), pa.array([2.0])],
    )
    assert merged([_task(first, second)], 3).constant(2) == {1, 2}
    assert merged([_task(first), _task(second)], 3).constant(2) == {1, 2}
    third = [pa.array([1.0]), pa.array(["b"]), pa.array([2.0])]
    assert merged([_task(first, second), _task(third)], 3).constant(3) == {2}


def test_zeros_of_either_sign_are_one_value_and_no_rows_hold_none() -> None:
    assert merged([_task([pa.array([0.0, -0.0])])], 1).constant(2) == {0}
    assert merged([], 2).constant(0) == {0, 1}
    assert merged([_task([pa.array([], pa.float64())]), _task([pa.array([3.25])])], 1).only == {0: 3.25}
