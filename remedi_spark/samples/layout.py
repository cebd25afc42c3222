"""What stands in each slot of an encoded row."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
SlotKind = Literal["number", "code", "frequency", "made", "target"]
Operation = Literal["difference", "ratio"]
LEAST, LARGEST = 1e-9, 1e30
"""What is smaller divides nothing; a larger ratio is null, for no float32 would hold it."""


class Made(NamedTuple):
    """What is made of two numbers of a row."""

    operation: Operation
    first: int
    second: int

    def of(self, first: Array, second: Array) -> Array:
        """Return ``first - second`` or ``first / second``, shape (rows,); NaN where either is, or nothing divides."""
        with np.errstate(all="ignore"):
            if self.operation == "difference":
                found = first - second
            else:
                found = np.where(np.abs(second) >= LEAST, first / second, np.nan)
            return np.where(np.abs(found) <= LARGEST, found, np.nan)


@dataclass(frozen=True)
class Slot:
    """One number of the encoded row.

    ``number``: the value itself, NaN for null. ``code``: index of a level, 0 for the most frequent; the last index
    (``cardinality - 1``) is for unseen levels. ``frequency``: log1p of the level's training rows. ``made``: of this
    feature's number and another one's. ``target``: smoothed mean label of the level (log-odds for a 0/1 label).
    """

    feature: int
    kind: SlotKind
    cardinality: int = 0
    made: Made | None = None
    """Of which slots."""


@dataclass(frozen=True)
class Layout:
    """The slots of an encoded row, in order: numbers, codes, frequencies, what is made, then target encodings."""

    slots: tuple[Slot, ...]

    @property
    def width(self) -> int:
        """Numbers in a row."""
        return len(self.slots)

    @property
    def fixed(self) -> int:
        """Leading slots that do not depend on the fold; the target encodings follow."""
        return sum(slot.kind != "target" for slot in self.slots)

    def where(self, *kinds: SlotKind) -> list[int]:
        """Positions of the slots of some kinds."""
        return [i for i, slot in enumerate(self.slots) if slot.kind in kinds]

    def make(self, x: Array) -> None:
        """Write anew what rows, (n, at least ``fixed``), have made of their numbers."""
        for place, slot in enumerate(self.slots):
            if slot.made is not None:
                x[:, place] = slot.made.of(x[:, slot.made.first], x[:, slot.made.second])

    def beside_codes(self) -> list[int]:
        """Positions of the frequency and target encodings of columns that have codes as well."""
        coded = {slot.feature for slot in self.slots if slot.kind == "code"}
        return [i for i in self.where("frequency", "target") if self.slots[i].feature in coded]

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able form."""
        return {"slots": [asdict(slot) for slot in self.slots]}

    @classmethod
    def from_dict(cls, tree: dict[str, Any]) -> Layout:
        """Rebuild from :meth:`to_dict`."""
        return cls(tuple(Slot(**{**slot, "made": slot.get("made") and Made(*slot["made"])}) for slot in tree["slots"]))
