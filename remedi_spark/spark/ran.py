"""What a function that ran on whole partitions has given."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Ran:
    """What one worker's function returned, and how many rows it was given."""

    result: bytes
    rows: int
