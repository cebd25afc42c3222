"""Independent jobs at the same time: what one leaves idle while it plans or commits, another uses."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")
MOST = 8
"""Jobs at once: each holds a thread of the driver and its plans."""


def side_by_side(work: Callable[[T], R], items: Collection[T]) -> list[R]:
    """Return the result of each item, in order.

    When one fails, those under way end first, others are not begun, and its error is raised.
    """
    if len(items) < 2:
        return [work(item) for item in items]
    with ThreadPoolExecutor(min(MOST, len(items))) as pool:
        return list(pool.map(work, items))


def together(parts: Mapping[str, Callable[[], R]]) -> dict[str, R]:
    """Return what each of several different jobs finds, by name; errors as in :func:`side_by_side`."""
    return dict(zip(parts, side_by_side(lambda part: part(), list(parts.values())), strict=True))
