"""What stands in each slot of an encoded row."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

SlotKind = Literal["number", "code", "frequency", "target"]


@dataclass(frozen=True)
class Slot:
    """One number of the encoded row.

    ``number``: the value itself, NaN for null. ``code``: index of a level, 0 for the most frequent; the last index
    (``cardinality - 1``) is for unseen levels. ``frequency``: log1p of the level's training rows. ``target``: smoothed
    mean label of the level (log-odds for a 0/1 label).
    """

    feature: int
    kind: SlotKind
    cardinality: int = 0


@dataclass(frozen=True)
class Layout:
    """The slots of an encoded row, in order: numbers, codes, frequencies, then target encodings."""

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
        return cls(tuple(Slot(**slot) for slot in tree["slots"]))
